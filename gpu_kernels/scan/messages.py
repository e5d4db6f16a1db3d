"""What a scan gives, read from a child's messages: whatever it sends, frames, times and pictures fit together."""

from dataclasses import dataclass
from itertools import starmap
from typing import Literal

import numpy as np
from pydantic import Field

from gpu_kernels.dedup.windows import PICTURE
from gpu_kernels.media.segments import Segment
from gpu_kernels.sandbox import ChildMessage, Header, reader_of
from gpu_kernels.sandbox.messages import Buffers, Count, Int64, Side
from gpu_kernels.scan.frame_sampler import FrameSample
from gpu_kernels.scan.motion_sampler import MotionSample, ReferenceSample
from gpu_kernels.scan.storyboard_sampler import StoryboardFrame
from gpu_kernels.scores.camera_motion import Step
from gpu_kernels.scores.picture_quality import PictureQuality
from gpu_kernels.sound.messages import Heard, HeardAll, HeardSound, SoundEnd, SoundReader

THUMBNAIL = (27, 48)
"""Height and width of the frames that TransNetV2 sees."""

CHUNK_FRAMES = 100


@dataclass(frozen=True)
class Overview:
    """A frame in which windows are looked for: uint8 [81, 144], grey."""

    frame: int
    picture: np.ndarray


@dataclass(frozen=True)
class ScanChunk:
    """Up to CHUNK_FRAMES consecutive frames.

    Attributes:
        thumbnails: uint8 [n, 27, 48, 3], RGB.
        pts_ns: int64 [n], presentation times.
        luma: float32 [n], mean luminance, 0 to 1.
        black: float32 [n], share of black pixels.
        storyboards: what each storyboard keeps of these frames, in the order in which they were asked for.
        overviews: of some of these frames; none where they were not asked for.
    """

    thumbnails: np.ndarray
    pts_ns: np.ndarray
    luma: np.ndarray
    black: np.ndarray
    motion: list[MotionSample]
    references: list[ReferenceSample]
    storyboards: list[list[StoryboardFrame]]
    samples: list[FrameSample]
    overviews: list[Overview]


@dataclass(frozen=True)
class ScanEnd:
    """How the decode ended: packets that could not be decoded, frames that the decoder marked as damaged."""

    decode_errors: int
    damaged_frames: int


class _Sample(ChildMessage):
    frame: Count
    pts_ns: Int64
    by_flow: bool
    distance: int = Field(ge=1, lt=1 << 31)
    patches: list[list[float]]


class _Reference(ChildMessage):
    frame: Count
    mean: float
    centres: list[list[float]]


class _FrameSample(ChildMessage):
    frame: Count
    other: Count
    step_ns: int = Field(ge=1, lt=1 << 62)
    quality: list[float] = Field(min_length=len(PictureQuality._fields), max_length=len(PictureQuality._fields))
    step: list[float] = Field(min_length=len(Step._fields), max_length=len(Step._fields))


class _Picture(ChildMessage):
    frame: Count
    pts_ns: Int64
    width: Side
    height: Side
    sharpness: float


class _Chunk(ChildMessage):
    kind: Literal["chunk"]
    count: int = Field(ge=1, le=CHUNK_FRAMES)
    motion: list[_Sample]
    references: list[_Reference]
    storyboards: list[list[_Picture]]
    samples: list[_FrameSample]
    overviews: list[Count]
    buffers: Buffers


class _Done(ChildMessage):
    kind: Literal["done"]
    decode_errors: Count
    damaged_frames: Count


_MESSAGE = reader_of(_Chunk, _Done, Heard, HeardAll)


class ScanReader:
    """Reads the messages of the scan of one video, or of a segment of it.

    Args:
        boards: how many storyboards were asked for.
        sound: whether the sound was.

    Attributes:
        ended: whether the last message was read.
    """

    def __init__(self, own: Segment, boards: int, sound: bool = False) -> None:
        self._sound = SoundReader() if sound else None
        self._own = own
        self._frames = 0
        self._last_ns = np.iinfo(np.int64).min
        self._sample = self._reference = self._frame_sample = self._overview = own.start - 1
        self._pictures = [own.start - 1] * boards
        self.ended = False

    def __call__(self, header: Header, buffers: list[memoryview]) -> ScanChunk | ScanEnd | HeardSound | SoundEnd:
        """The next message.

        Raises:
            ValueError: it is none that may come now.
        """
        message = _MESSAGE(header, buffers)
        if self.ended:
            raise ValueError("there is more after the end")
        if isinstance(message, _Chunk):
            return self._chunk(message)
        if isinstance(message, Heard | HeardAll):
            if self._sound is None:
                raise ValueError("no sound was asked for")
            return self._sound(message)
        if self._sound is not None and not self._sound.ended:
            raise ValueError("the scan ends before the sound does")
        expected = (
            None if self._own.end is None else self._own.before + self._own.end - self._own.start + self._own.after
        )
        if self._frames == 0 or expected not in (None, self._frames):
            raise ValueError(f"{self._frames} frames were scanned, not {expected or 'any'}")
        self.ended = True
        return ScanEnd(message.decode_errors, message.damaged_frames)

    def _chunk(self, message: _Chunk) -> ScanChunk:
        thumbnails, pts_ns, luma, black, *rest = message.buffers
        overviews, jpegs = (rest[0], rest[1:]) if message.overviews else (b"", rest)
        if sum(map(len, message.storyboards)) != len(jpegs):
            raise ValueError(f"{len(jpegs)} pictures came, not as many as there are frames of storyboards")
        following = iter(jpegs)
        self._frames += message.count
        times = np.frombuffer(pts_ns, np.int64).reshape(message.count)
        if times[0] <= self._last_ns or (times[1:] <= times[:-1]).any():
            raise ValueError("presentation times go back")
        self._last_ns = times[-1]
        return ScanChunk(
            thumbnails=np.frombuffer(thumbnails, np.uint8).reshape(message.count, *THUMBNAIL, 3),
            pts_ns=times,
            luma=_shares(luma, message.count),
            black=_shares(black, message.count),
            motion=[self._motion(sample) for sample in message.motion],
            references=[self._referred(sample) for sample in message.references],
            storyboards=[
                [self._pictured(board, picture, next(following)) for picture in pictures]
                for board, pictures in zip(range(len(self._pictures)), message.storyboards, strict=True)
            ],
            samples=[self._sampled(sample) for sample in message.samples],
            overviews=self._overviews(message.overviews, overviews),
        )

    def _motion(self, sample: _Sample) -> MotionSample:
        self._sample = self._following(sample.frame, self._sample)
        return MotionSample(sample.frame, sample.pts_ns, sample.by_flow, sample.distance, _grid(sample.patches))

    def _referred(self, sample: _Reference) -> ReferenceSample:
        self._reference = self._following(sample.frame, self._reference)
        return ReferenceSample(sample.frame, float(_grid([[sample.mean]])[0, 0]), _grid(sample.centres))

    def _sampled(self, sample: _FrameSample) -> FrameSample:
        self._frame_sample = self._following(sample.frame, self._frame_sample)
        values = np.array([*sample.quality, *sample.step])
        if sample.other <= sample.frame or not (np.abs(values) <= np.finfo(np.float32).max).all():
            raise ValueError("the sample of a frame is none")
        return FrameSample(
            sample.frame, sample.other, sample.step_ns, PictureQuality(*sample.quality), Step(*sample.step)
        )

    def _overviews(self, frames: list[int], buffer: memoryview | bytes) -> list[Overview]:
        pictures = np.frombuffer(buffer, np.uint8).reshape(len(frames), *PICTURE)
        for frame in frames:
            self._overview = self._following(frame, self._overview)
        return list(starmap(Overview, zip(frames, pictures, strict=True)))

    def _pictured(self, board: int, picture: _Picture, jpeg: memoryview) -> StoryboardFrame:
        self._pictures[board] = self._following(picture.frame, self._pictures[board])
        if not jpeg.nbytes:
            raise ValueError("a picture is empty")
        return StoryboardFrame(picture.frame, picture.pts_ns, picture.width, picture.height, picture.sharpness, jpeg)

    def _following(self, frame: int, last: int) -> int:
        if not (last < frame < self._own.start + self._frames and self._own.holds(frame)):
            raise ValueError(f"frame {frame} is not one of those that may come after frame {last}")
        return frame


def _grid(values: list[list[float]]) -> np.ndarray:
    grid = np.array(values, np.float64)
    if grid.ndim != 2 or grid.size == 0 or not (np.abs(grid) <= np.finfo(np.float32).max).all():
        raise ValueError("the motion of a frame has no values")
    return grid.astype(np.float32)


def _shares(buffer: memoryview, count: int) -> np.ndarray:
    shares = np.frombuffer(buffer, np.float32).reshape(count)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError("a share is not between 0 and 1")
    return shares

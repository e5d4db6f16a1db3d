"""One decode of a source video: every signal that needs all its frames, and its storyboards.

`scan` runs inside the sandbox's child and sends chunks; `read_scan` yields them, typed, in the parent. Frames are the
file's own, in presentation order: none is duplicated or dropped to make a rate constant.
"""

import gc
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gpu_kernels.dedup.windows import PICTURE, PICTURES_PER_SECOND
from gpu_kernels.media.containers import open_media
from gpu_kernels.media.decoder import Decoder, numbered_frames
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.segments import WHOLE, Segment
from gpu_kernels.media.storyboards import Cadence, StoryboardsConfig
from gpu_kernels.media.streams import video_stream
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, Send
from gpu_kernels.scan.frame_sampler import FrameSample, FrameSampler, FrameSignalsConfig
from gpu_kernels.scan.messages import CHUNK_FRAMES, THUMBNAIL, ScanChunk, ScanEnd, ScanReader
from gpu_kernels.scan.motion_sampler import MotionSample, MotionSampler, ReferenceSample
from gpu_kernels.scan.storyboard_sampler import StoryboardFrame, StoryboardSampler
from gpu_kernels.scores.luminance import thumbnail_luminance
from gpu_kernels.scores.motion import MotionSignalsConfig
from gpu_kernels.shots.transitions import CONTEXT_FRAMES
from gpu_kernels.sound.hearing import hear_rest, hearing_of
from gpu_kernels.sound.messages import HeardSound, SoundEnd

Scanned = ScanChunk | ScanEnd | HeardSound | SoundEnd
"""What comes of a scan, in the order in which it is known."""

_PROGRESS_FRAMES = 10
"""How often a sign of life is sent: a chunk of 8K frames takes long."""


def read_scan(
    nursery: Nursery,
    path: str,
    motion: MotionSignalsConfig | None,
    storyboards: Sequence[StoryboardsConfig],
    segment: Segment = WHOLE,
    sound: bool = False,
    restarts: bool = False,
    frame_signals: FrameSignalsConfig | None = None,
    overviews: bool = False,
) -> Iterator[Scanned]:
    """Decode `path` once in a child process, for any number of storyboards. Without `motion` or
    `frame_signals`, that is left out.

    Of a `segment` within the video come its own frames and those that are its context; motion, storyboards and samples
    of its own frames only, and all numbers are the whole video's.

    Args:
        sound: whether to hear the file's sound, too: all of it, whatever the segment, which has to begin the video.
        restarts: whether the file's clock starts again somewhere.
        overviews: whether windows are looked for.

    Raises:
        MediaError: the file cannot be opened, or not one frame of it can be decoded, or the segment is not found.
    """
    read = ScanReader(segment, len(storyboards), sound)
    yield from nursery.run(
        "gpu_kernels.scan.scan:scan",
        read,
        files=[path],
        path=path,
        motion=motion.model_dump() if motion else None,
        storyboards=[each.model_dump() for each in storyboards],
        segment=asdict(segment),
        sound=sound,
        restarts=restarts,
        frame_signals=frame_signals.model_dump() if frame_signals else None,
        overviews=overviews,
    )
    if not read.ended:
        raise MediaError("the decoding process ended before the scan did")


# ---------------------------------------------------------------- in the child


def scan(
    send: Send,
    limits: DecodingLimits,
    path: str,
    motion: dict[str, Any] | None,
    storyboards: list[dict[str, Any]],
    segment: dict[str, Any],
    sound: bool,
    restarts: bool,
    frame_signals: dict[str, Any] | None = None,
    overviews: bool = False,
) -> None:
    """Sandboxed operation: decode every frame once and send chunks of signals."""
    gc.freeze()  # what the child inherits need not be looked through again
    with open_media(path) as container:
        stream = video_stream(container)
        own = Segment(**segment)
        chunk = _Chunk(send, len(storyboards))
        hearing = hearing_of(send, container, path, restarts) if sound else None
        decoder = Decoder(container, stream, limits, motion_vectors=motion is not None, beside=hearing)
        sampler = None
        if motion is not None:
            sampler = MotionSampler(MotionSignalsConfig.model_validate(motion), stream, own.first_pts_ns)
        frame_sampler = None
        if frame_signals is not None:
            frame_sampler = FrameSampler(FrameSignalsConfig.model_validate(frame_signals), stream, own.first_pts_ns)
        boards = [
            StoryboardSampler(StoryboardsConfig.model_validate(each), stream, own.first_pts_ns) for each in storyboards
        ]
        thumbnail = Scaler(lambda _width, _height: (THUMBNAIL[1], THUMBNAIL[0]), "rgb24", stream)
        overview = Scaler(lambda _width, _height: (PICTURE[1], PICTURE[0]), "gray", stream, flags="area")
        seen = Cadence(PICTURES_PER_SECOND, own.first_pts_ns)
        context: deque[tuple[np.ndarray, int]] = deque(maxlen=CONTEXT_FRAMES)
        lead_ns = max(own.context_ns, *(each.memory_ns for each in (sampler, frame_sampler) if each is not None), 0)
        for index, pts_ns, frame in numbered_frames(decoder, own, lead_ns):
            if sampler is not None:
                sample, reference = sampler.take(index, pts_ns, frame)
                if sample is not None and own.holds(sample.frame):
                    chunk.motion.append(sample)
                if reference is not None and own.holds(reference.frame):
                    chunk.references.append(reference)
            if frame_sampler is not None:
                taken = frame_sampler.take(index, pts_ns, frame)
                if taken is not None and own.holds(taken.frame):
                    chunk.samples.append(taken)
            for board, kept in zip(boards, chunk.storyboards, strict=True):
                if board.due(pts_ns) and own.holds(index):
                    kept.append(board.taken(index, pts_ns, frame))
            if overviews and seen.due(pts_ns) and own.holds(index):
                chunk.overviews.append((index, overview(frame)))
            if index < own.start:
                context.append((thumbnail(frame), pts_ns))
            else:
                while context:
                    chunk.add(*context.popleft())
                chunk.add(thumbnail(frame), pts_ns)
            if decoder.count % _PROGRESS_FRAMES == 1:
                send({"kind": "progress"})
                gc.collect()  # a frame refers to itself once its motion vectors were asked for, and would stay long
        chunk.flush()
        if decoder.count == 0:
            raise MediaError(f"no frame of the {stream.codec_context.name} stream could be decoded")
        if hearing is not None:
            hear_rest(send, decoder.packets, hearing)
            hearing.finish()
        send({"kind": "done", "decode_errors": decoder.errors, "damaged_frames": decoder.damaged})


class _Chunk:
    """Gathers what belongs to up to CHUNK_FRAMES frames and sends it."""

    def __init__(self, send: Send, boards: int) -> None:
        self._send = send
        self._thumbnails: list[np.ndarray] = []
        self._pts: list[int] = []
        self.motion: list[MotionSample] = []
        self.references: list[ReferenceSample] = []
        self.storyboards: list[list[StoryboardFrame]] = [[] for _ in range(boards)]
        self.samples: list[FrameSample] = []
        self.overviews: list[tuple[int, np.ndarray]] = []

    def add(self, thumbnail: np.ndarray, pts_ns: int) -> None:
        self._thumbnails.append(thumbnail)
        self._pts.append(pts_ns)
        if len(self._pts) == CHUNK_FRAMES:
            self.flush()

    def flush(self) -> None:
        if self._pts:
            thumbnails = np.stack(self._thumbnails)
            luma, black = thumbnail_luminance(thumbnails)
            header = {
                "kind": "chunk",
                "count": len(self._pts),
                "motion": [{**vars(sample), "patches": sample.patches.tolist()} for sample in self.motion],
                "references": [{**vars(sample), "centres": sample.centres.tolist()} for sample in self.references],
                "storyboards": [
                    [{name: value for name, value in vars(frame).items() if name != "jpeg"} for frame in board]
                    for board in self.storyboards
                ],
                "samples": [
                    {**vars(each), "quality": list(each.quality), "step": list(each.step)} for each in self.samples
                ],
                "overviews": [index for index, _ in self.overviews],
            }
            arrays = [thumbnails, np.array(self._pts, np.int64), luma, black]
            if self.overviews:
                arrays.append(np.stack([picture for _, picture in self.overviews]))
            pictures = (frame.jpeg for board in self.storyboards for frame in board)
            self._send(header, *(array.data for array in arrays), *pictures)
        self.__init__(self._send, len(self.storyboards))

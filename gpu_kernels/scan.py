"""One decode of a source video: every signal that needs all its frames, and its storyboard.

`scan` runs inside the sandbox's child and sends chunks; `read_scan` yields them, typed, in the parent. Frames are the
file's own, in presentation order: none is duplicated or dropped to make a rate constant.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from gpu_kernels.containers import NANOSECONDS, clockwise, displayed_size, open_media, video_streams
from gpu_kernels.luminance import sharpness, thumbnail_luminance
from gpu_kernels.motion import MotionSignalsConfig, flow_motion, flow_size, patch_grid, vector_motion
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, Send
from gpu_kernels.segments import WHOLE, Segment
from gpu_kernels.shots import CONTEXT_FRAMES
from gpu_kernels.storyboards import Cadence, StoryboardsConfig, storyboard_size

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.stream import VideoStream

THUMBNAIL = (27, 48)
"""Height and width of the frames that TransNetV2 sees."""

CHUNK_FRAMES = 100
_PROGRESS_FRAMES = 10
"""How often a sign of life is sent: a chunk of 8K frames takes long."""

_EARLIER = -1
"""The number of frames that are only decoded for what they tell later ones."""

_FARTHEST_BACK_NS = 128 * NANOSECONDS

_VECTOR_CODECS = {"h264", "mpeg4", "mpeg2video", "mpeg1video", "h263", "msmpeg4v3", "msmpeg4v2", "flv", "vc1", "wmv3"}


@dataclass(frozen=True)
class MotionSample:
    """Motion at one frame: mean magnitude per patch, float32 [rows, cols], as a share of width plus height."""

    frame: int
    pts_ns: int
    by_flow: bool
    patches: np.ndarray


@dataclass(frozen=True)
class StoryboardFrame:
    """One kept frame; `sharpness` is the variance of its Laplacian in squared grey levels."""

    frame: int
    pts_ns: int
    width: int
    height: int
    sharpness: float
    jpeg: memoryview


@dataclass(frozen=True)
class ScanChunk:
    """Up to CHUNK_FRAMES consecutive frames.

    Attributes:
        thumbnails: uint8 [n, 27, 48, 3], RGB.
        pts_ns: int64 [n], presentation times.
        luma: float32 [n], mean luminance, 0 to 1.
        black: float32 [n], share of black pixels.
    """

    thumbnails: np.ndarray
    pts_ns: np.ndarray
    luma: np.ndarray
    black: np.ndarray
    motion: list[MotionSample]
    storyboard: list[StoryboardFrame]


@dataclass(frozen=True)
class ScanEnd:
    """How the decode ended: packets that could not be decoded, frames that the decoder marked as damaged."""

    decode_errors: int
    damaged_frames: int


def read_scan(
    nursery: Nursery,
    path: str,
    motion: MotionSignalsConfig | None,
    storyboards: StoryboardsConfig | None,
    segment: Segment = WHOLE,
) -> Iterator[ScanChunk | ScanEnd]:
    """Decode `path` once in a child process. Without `motion` or `storyboards`, those are left out.

    Of a `segment` within the video come its own frames and those that are its context, motion and storyboard of its own
    frames only, and all numbers are the whole video's.

    Raises:
        MediaError: the file cannot be opened, or not one frame of it can be decoded, or the segment is not found.
    """
    messages = nursery.run(
        "gpu_kernels.scan:scan",
        path=path,
        motion=motion.model_dump() if motion else None,
        storyboards=storyboards.model_dump() if storyboards else None,
        segment=asdict(segment),
    )
    for header, buffers in messages:
        if header["kind"] == "chunk":
            count = header["count"]
            yield ScanChunk(
                thumbnails=np.frombuffer(buffers[0], np.uint8).reshape(count, *THUMBNAIL, 3),
                pts_ns=np.frombuffer(buffers[1], np.int64),
                luma=np.frombuffer(buffers[2], np.float32),
                black=np.frombuffer(buffers[3], np.float32),
                motion=[
                    MotionSample(m["frame"], m["pts_ns"], m["by_flow"], np.array(m["patches"], np.float32))
                    for m in header["motion"]
                ],
                storyboard=[
                    StoryboardFrame(**frame, jpeg=jpeg)
                    for frame, jpeg in zip(header["storyboard"], buffers[4:], strict=True)
                ],
            )
        elif header["kind"] == "done":
            yield ScanEnd(header["decode_errors"], header["damaged_frames"])


# ---------------------------------------------------------------- in the child


def scan(
    send: Send,
    limits: DecodingLimits,
    path: str,
    motion: dict[str, Any] | None,
    storyboards: dict[str, Any] | None,
    segment: dict[str, Any],
) -> None:
    """Sandboxed operation: decode every frame once and send chunks of signals."""
    gc.freeze()  # what the child inherits need not be looked through again
    with open_media(path) as container:
        stream = video_streams(container)[0]
        # A second thread changes motion vectors from run to run, and loses more frames around damage.
        stream.codec_context.thread_count = 1
        stream.thread_type = "NONE"
        if motion is not None:
            stream.codec_context.options = {"flags2": "+export_mvs"}
        own = Segment(**segment)
        chunk = _Chunk(send)
        decoder = _Decoder(container, stream, limits)
        sampler = board = None
        if motion is not None:
            sampler = _MotionSampler(MotionSignalsConfig.model_validate(motion), stream, own.first_pts_ns)
        if storyboards is not None:
            board = _Storyboarder(StoryboardsConfig.model_validate(storyboards), stream, own.first_pts_ns)
        thumbnail = _Scaler(lambda _frame, _rotation: (THUMBNAIL[1], THUMBNAIL[0]), "rgb24", stream)
        context: deque[tuple[np.ndarray, int]] = deque(maxlen=CONTEXT_FRAMES)
        for index, pts_ns, frame in _numbered(own, decoder, max(own.context_ns, sampler.memory_ns if sampler else 0)):
            if sampler is not None and (sample := sampler.take(index, pts_ns, frame)) and own.holds(sample["frame"]):
                chunk.motion.append(sample)
            if board is not None and board.due(pts_ns) and own.holds(index):
                chunk.keep(*board.taken(index, pts_ns, frame))
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
        send({"kind": "done", "decode_errors": decoder.errors, "damaged_frames": decoder.damaged})


def _numbered(own: Segment, decoder: "_Decoder", lead_ns: int) -> "Iterator[tuple[int, int, VideoFrame]]":
    """Frames with their numbers and times in the whole video: a segment's own, and those that follow as its context.

    Before these come frames from at least `lead_ns` earlier on, whose number is _EARLIER.

    Raises:
        MediaError: the video is not as its probe says; it can only be scanned as a whole then.
    """
    number, start_ns, from_ns = own.start, own.start_pts_ns, own.first_pts_ns or 0
    if start_ns is not None:
        number, from_ns = _EARLIER, max(from_ns, start_ns - lead_ns)
        decoder.seek(from_ns)
    known = {own.start: own.first_pts_ns if start_ns is None else start_ns, own.end: own.end_pts_ns}
    for pts_ns, frame in decoder.frames():
        if start_ns is not None and number == _EARLIER:
            if decoder.count == 1 and pts_ns > from_ns:
                raise MediaError("decoding cannot begin before the segment")
            if pts_ns < start_ns:
                yield number, pts_ns, frame
                continue
            number = own.start
            decoder.forget()
        if own.end is not None and number == own.end + own.after:
            return
        if not own.whole and (decoder.guessed or known.get(number) not in (None, pts_ns)):
            raise MediaError(f"the time of frame {number} is not what the probe found")
        yield number, pts_ns, frame
        number += 1
    if own.end is not None:
        raise MediaError(f"the video ends at frame {number}, before the segment does")


class _Chunk:
    """Gathers what belongs to up to CHUNK_FRAMES frames and sends it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._thumbnails: list[np.ndarray] = []
        self._pts: list[int] = []
        self._storyboard: list[dict[str, Any]] = []
        self._jpegs: list[bytes] = []
        self.motion: list[dict[str, Any]] = []

    def keep(self, facts: dict[str, Any], jpeg: bytes) -> None:
        self._storyboard.append(facts)
        self._jpegs.append(jpeg)

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
                "motion": self.motion,
                "storyboard": self._storyboard,
            }
            self._send(header, thumbnails.data, np.array(self._pts, np.int64).data, luma.data, black.data, *self._jpegs)
        self.__init__(self._send)


class _Decoder:
    """Frames in presentation order with times that never go back; damaged data is counted, not fatal.

    Attributes:
        count: frames so far.
        errors, damaged: packets that could not be decoded, frames that are marked as damaged.
        guessed: whether a frame had no usable time of its own.
    """

    def __init__(self, container: "InputContainer", stream: "VideoStream", limits: DecodingLimits) -> None:
        self._container, self._stream, self._limits = container, stream, limits
        self._tick = (stream.time_base or Fraction(1, NANOSECONDS)) * NANOSECONDS
        self.count = 0
        self.forget()

    def forget(self) -> None:
        """Count what is wrong from here on."""
        self.errors = self.damaged = 0
        self.guessed = False

    def seek(self, pts_ns: int) -> None:
        """Go to a keyframe at or before a time.

        Raises:
            MediaError: none is found.
        """
        import av.error

        back_ns = NANOSECONDS  # some containers look for decoding times, which are earlier
        while back_ns <= _FARTHEST_BACK_NS:
            place = int((pts_ns - back_ns) / self._tick)
            try:
                self._container.seek(place, stream=self._stream)
                found = next(packet for packet in self._container.demux(self._stream) if packet.is_keyframe)
                self._container.seek(place, stream=self._stream)
            except (av.error.FFmpegError, StopIteration):
                break
            if found.pts is not None and int(found.pts * self._tick) <= pts_ns:
                return
            back_ns *= 2  # and some lead anywhere, from where the next keyframe may be a long way off
        raise MediaError("no keyframe is found from which the segment can be decoded")

    def frames(self) -> Iterator[tuple[int, "VideoFrame"]]:
        rate = self._stream.guessed_rate  # raw streams have no times, only the rate that the codec states
        period_ns = round(NANOSECONDS / rate) if rate else NANOSECONDS // 25
        last = None
        for frame in self._decoded():
            if frame.width * frame.height > self._limits.max_pixels:
                raise MediaError(f"{frame.width}x{frame.height} pixels are more than limits.max_pixels allows")
            expected = 0 if last is None else last + period_ns
            pts_ns = expected if frame.pts is None else int(frame.pts * self._tick)
            self.guessed |= frame.pts is None or (last is not None and pts_ns <= last)
            if last is not None and pts_ns <= last:
                pts_ns = last + 1  # broken timestamps: keep the order, stay as near as possible
            last = pts_ns
            self.count += 1
            self.damaged += bool(frame.is_corrupt)
            yield pts_ns, frame

    def _decoded(self) -> Iterator["VideoFrame"]:
        import av.error

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.MemoryError:
                raise
            except av.FFmpegError:
                self.errors += 1  # the file ends within a packet: what the decoder still holds is flushed
                packet = None
            try:
                frames = self._stream.codec_context.decode(packet)
            except av.error.EOFError:
                return
            except av.error.MemoryError:
                raise
            except av.FFmpegError:
                self.errors += 1
                frames = []
            yield from frames
            if packet is None or packet.size == 0:
                return


class _Scaler:
    """Scales, turns and converts frames through one filter graph, rebuilt when the stream changes its size."""

    def __init__(
        self,
        size: Callable[["VideoFrame", int], tuple[int, int]],
        pixels: str,
        stream: "VideoStream",
        upright: bool = True,
    ) -> None:
        self._size, self._pixels, self._stream, self._upright = size, pixels, stream, upright
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def __call__(self, frame: "VideoFrame") -> np.ndarray:
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = self._built(frame), shape
        self._graph.vpush(frame)
        return np.ascontiguousarray(self._graph.vpull().to_ndarray())  # rows may come padded; OpenCV wants no gaps

    def _built(self, frame: "VideoFrame") -> "Graph":
        from av.filter import Graph

        rotation = clockwise(frame.rotation) if self._upright else 0
        width, height = self._size(frame, rotation)
        turn = {90: [("transpose", "clock")], 180: [("hflip", ""), ("vflip", "")], 270: [("transpose", "cclock")]}
        graph = Graph()
        graph.threads = 1  # more cost more than they gain, and there is a worker per core
        last = graph.add_buffer(
            template=self._stream,
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base,
        )
        # The picture is turned at its full size and then scaled, as ffmpeg itself does it.
        for name, arguments in [
            *turn.get(rotation, []),
            ("scale", f"{width}:{height}:flags=bicubic"),
            ("format", self._pixels),
        ]:
            node = graph.add(name, arguments)
            last.link_to(node)
            last = node
        sink = graph.add("buffersink")
        last.link_to(sink)
        graph.configure()
        return graph


class _Storyboarder:
    """Takes the storyboard's frames."""

    def __init__(self, config: StoryboardsConfig, stream: "VideoStream", origin_ns: int | None) -> None:
        self._config = config
        self.due = Cadence(config.frames_per_second, origin_ns).due
        aspect = stream.sample_aspect_ratio

        def size(frame: "VideoFrame", rotation: int) -> tuple[int, int]:
            return storyboard_size(*displayed_size(frame.width, frame.height, aspect, rotation), config.short_side)

        self._scaler = _Scaler(size, "bgr24", stream)

    def taken(self, index: int, pts_ns: int, frame: "VideoFrame") -> tuple[dict[str, Any], bytes]:
        import cv2

        picture = self._scaler(frame)
        encoded, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._config.jpeg_quality])
        if not encoded:
            raise MediaError(f"frame {index} could not be encoded as JPEG")
        facts = {
            "frame": index,
            "pts_ns": pts_ns,
            "width": picture.shape[1],
            "height": picture.shape[0],
            "sharpness": sharpness(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)),
        }
        return facts, jpeg.tobytes()


class _MotionSampler:
    """Motion from the codec's vectors where there are any, else from dense flow to the next frame.

    A keyframe has no vectors: the sample is then taken at the next frame that has. When a whole period passes without
    any (in an all-intra file), flow is used. What it takes depends on the last `memory_ns` of the video only.
    """

    def __init__(self, config: MotionSignalsConfig, stream: "VideoStream", origin_ns: int | None) -> None:
        self._cadence = Cadence(config.samples_per_second, origin_ns)
        self.memory_ns = 3 * self._cadence.period_ns
        self._has_vectors = stream.codec_context.codec.canonical_name in _VECTOR_CODECS
        self._done = True  # whether there is a sample from vectors in this period
        self._pending: tuple[int, int, np.ndarray] | None = None

        def size(frame: "VideoFrame", _rotation: int) -> tuple[int, int]:
            return flow_size(frame.width, frame.height, config.flow_short_side)

        self._gray = _Scaler(size, "gray", stream, upright=False)  # as the codec's vectors are

    def take(self, index: int, pts_ns: int, frame: "VideoFrame") -> dict[str, Any] | None:
        due = self._cadence.due(pts_ns)
        missed = due and not self._done
        self._done = self._done and not due
        flow = self._flow_to(frame)
        if not self._has_vectors:
            if due:
                self._pending = (index, pts_ns, self._gray(frame))
        elif not self._done and flow is None and (vectors := frame.side_data.get("MOTION_VECTORS")) is not None:
            self._done = True
            return self._sample(index, pts_ns, False, vector_motion(vectors.to_ndarray(), frame.height, frame.width))
        elif missed:
            self._pending = (index, pts_ns, self._gray(frame))
        return flow

    def _flow_to(self, frame: "VideoFrame") -> dict[str, Any] | None:
        if self._pending is None:
            return None
        index, pts_ns, before = self._pending
        self._pending = None
        after = self._gray(frame)
        if before.shape != after.shape:
            return None
        return self._sample(index, pts_ns, True, flow_motion(before, after, *patch_grid(frame.height, frame.width)))

    @staticmethod
    def _sample(frame: int, pts_ns: int, by_flow: bool, patches: np.ndarray) -> dict[str, Any]:
        return {"frame": frame, "pts_ns": pts_ns, "by_flow": by_flow, "patches": patches.tolist()}

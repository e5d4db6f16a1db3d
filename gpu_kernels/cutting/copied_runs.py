"""Which packets of a stream can stand in a clip as they are. Runs inside the sandbox's child."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from gpu_kernels.codecs.bitstream import Bitstream
from gpu_kernels.codecs.h264 import H264
from gpu_kernels.codecs.hevc import Hevc
from gpu_kernels.codecs.vp9 import Vp9
from gpu_kernels.cutting.muxing import Sample
from gpu_kernels.cutting.spans import SECOND, Span
from gpu_kernels.media.containers import NANOSECONDS
from gpu_kernels.media.decoder import seek_before
from gpu_kernels.media.display import Display
from gpu_kernels.media.timeline import has_presentation_times, on_one_clock
from gpu_kernels.media.tone_mapping import needs_mapping
from gpu_kernels.sandbox import DecodingLimits, MediaError

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_REORDERED_FRAMES = 16
"""The most frames that H.264 and HEVC let a keyframe be decoded ahead of those that are shown before it."""

_LEAST_SHARE = 1 / 4
"""Of the span's frames that must be copied: below, decoding the edges twice costs more than copying saves."""

_BITSTREAMS = {"h264": H264, "hevc": Hevc, "vp9": Vp9}
"""By FFmpeg's name of the codec."""


@dataclass(frozen=True)
class Unit:
    """A packet of the source.

    Attributes:
        pts: presentation time in ticks of the stream.
        shown: false where an edit list has it decoded only.
        payload, entry, leading: of its `Picture`.
    """

    packet: "Packet[VideoStream]"
    pts: int
    shown: bool
    payload: bytes
    entry: bool
    leading: bool


@dataclass(frozen=True)
class Run:
    """What is copied: the numbers of the units, in decoding order, and they as samples."""

    units: list[int]
    samples: list[Sample]


def tick_of(stream: "VideoStream") -> Fraction:
    if not stream.time_base:
        raise MediaError("the stream has no time base")
    return stream.time_base


def pts_of(timed: "Packet[VideoStream] | VideoFrame") -> int:
    if timed.pts is None:
        raise MediaError("its frames have no presentation times")
    return timed.pts


def bitstream_of(stream: "VideoStream", limits: DecodingLimits) -> Bitstream:
    """The stream, if it is something that encoded frames can be joined to and that readers show as it is."""
    context = stream.codec_context
    bitstream = _BITSTREAMS.get(context.codec.canonical_name)
    if bitstream is None or context.pix_fmt != "yuv420p":
        raise MediaError("only H.264, HEVC and VP9 in yuv420p are copied")
    if context.width * context.height > limits.max_pixels:
        raise MediaError(f"{context.width}x{context.height} pixels are more than limits.max_pixels allows")
    return bitstream.of(context)


def check_shown_as_coded(stream: "VideoStream", units: list[Unit]) -> None:
    """Let only those be copied whose packets alone make every reader show what a player shows of the source.

    Raises:
        MediaError: the container or the pictures themselves say otherwise, or the colours are not those of the scan.
    """
    decoder = stream.codec_context
    frame = next((frame for unit in [*units, None] for frame in decoder.decode(unit and unit.packet)), None)
    decoder.flush_buffers()
    if frame is None:
        raise MediaError("no frame of it can be decoded")
    shown = Display(stream)(frame)
    if shown.turn or shown.aspect != 1 or shown.crop != (0, 0, frame.width, frame.height):
        raise MediaError("players crop, turn or stretch it")
    if needs_mapping(frame):
        raise MediaError("its colours are beyond those of ordinary screens")


def access_units(
    container: "InputContainer", stream: "VideoStream", bitstream: Bitstream, span: Span
) -> tuple[list[Unit], list[int]]:
    """What decoding the span takes, in decoding order, from the last entry at or before it; and its frames' pts.

    Raises:
        MediaError: there is no entry, or the packets' times are not those of the span.
    """
    if not has_presentation_times(container):
        raise MediaError("the container has no presentation times")
    tick = tick_of(stream)
    _go_before(container, stream, span)
    units: list[Unit] = []
    shown: list[int] = []
    beyond = 0
    for timed in on_one_clock(container, container.demux(stream)):
        if timed.packet.size == 0:
            continue
        if timed.anew:
            units.clear()
        unit = _unit(timed.packet, bitstream)
        time_ns = int(unit.pts * tick * NANOSECONDS)  # as frames are timed when they are scanned
        if unit.entry and time_ns <= span.start_ns:
            units.clear()
        units.append(unit)
        if unit.shown and span.start_ns <= time_ns < span.end_ns:
            shown.append(unit.pts)
        beyond += time_ns >= span.end_ns
        if beyond > _REORDERED_FRAMES:
            break
    shown.sort()
    if not units or not units[0].entry:
        raise MediaError("no keyframe that stands by itself is before the span")
    if stream.codec_context.reorder_depth and all(unit.pts < later.pts for unit, later in pairwise(units)):
        raise MediaError("its times are in the order of decoding")
    if len(set(shown)) != span.frames or len(shown) != span.frames:
        raise MediaError(f"{len(shown)} packets have times within the span of {span.frames} frames")
    if int(shown[0] * tick * NANOSECONDS) != span.start_ns:
        raise MediaError("no packet has the time of the span's first frame")
    while units[-1].pts > shown[-1]:
        units.pop()
    return units, shown


def _go_before(container: "InputContainer", stream: "VideoStream", span: Span) -> None:
    """Skip what is well before the span, where the container can.

    In an open group the span's first frame may be shown before, but depend on frames before, the keyframe that was
    decoded last.
    """
    lead_ns = max(SECOND, _REORDERED_FRAMES * (span.end_ns - span.start_ns) // span.frames)
    begin_ns = span.start_ns - lead_ns
    begins_ns = int((stream.start_time or 0) * tick_of(stream) * NANOSECONDS)
    if span.clock_restarts == 0 and begin_ns > begins_ns:
        seek_before(container, stream, begin_ns)


def _unit(packet: "Packet[VideoStream]", bitstream: Bitstream) -> Unit:
    if packet.has_sidedata("new_extradata"):  # a file joined from others, or one that has a second sample entry
        raise MediaError("its parameter sets change")
    picture = bitstream.picture(bytes(packet))
    return Unit(packet, pts_of(packet), not packet.is_discard, picture.payload, picture.entry, picture.leading)


def copied_run(bitstream: Bitstream, units: list[Unit], shown: list[int]) -> Run:
    """The longest run of units that begins at the span's first entry and ends cleanly.

    Of what is decoded after that entry, leading pictures are left out: they are before the run.
    """
    pts = [unit.pts for unit in units]
    start = next((index for index, unit in enumerate(units) if unit.entry and unit.pts >= shown[0]), None)
    if start is None:
        raise MediaError("no keyframe that stands by itself is in the span")
    first = pts[start]
    trailing = next((index for index in range(start + 1, len(units)) if not units[index].leading), len(units))
    possible = [start, *range(trailing, len(units))]
    if max(pts[:start], default=first - 1) >= first or min(pts[index] for index in possible) < first:
        raise MediaError("frames are shown across a keyframe")
    wanted = [time for time in shown if time >= first]
    count, latest = 0, first
    for position, index in enumerate(possible):
        if not units[index].shown or pts[index] > shown[-1]:
            break
        latest = max(latest, pts[index])
        if wanted[position] == latest:  # as many as there are up to the latest: it is all of them
            count = position + 1
    if count < _LEAST_SHARE * len(shown):
        raise MediaError("too few frames are in whole groups of pictures")
    run = possible[:count]
    return Run(run, [_sample(bitstream, units, run, position) for position in range(count)])


def _sample(bitstream: Bitstream, units: list[Unit], run: list[int], position: int) -> Sample:
    unit = units[run[position]]
    if position == 0:
        return Sample(unit.pts, True, bitstream.opening(unit.payload))
    followed = position + 1 < len(run) and units[run[position + 1]].leading
    return Sample(unit.pts, unit.entry and not followed, unit.payload)

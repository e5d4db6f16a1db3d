"""Which packets of an H.264 stream can stand in a clip as they are. Runs inside the sandbox's child."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gpu_kernels import h264
from gpu_kernels.clip_encoding import REORDERED_FRAMES, Span
from gpu_kernels.containers import NANOSECONDS
from gpu_kernels.h264 import ParameterSets
from gpu_kernels.sandbox import DecodingLimits, MediaError

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_LEAST_SHARE = 1 / 4
"""Of the span's frames that must be copied: below, decoding the edges twice costs more than copying saves."""

_PROFILES = (66, 77, 100)
"""Baseline, Main and High: 8 bits, and what is encoded at the edges conforms to each."""

_PROGRESSIVE = 1
"""FFmpeg's AV_FIELD_PROGRESSIVE."""


@dataclass(frozen=True)
class Unit:
    """An access unit of the source.

    Attributes:
        pts: presentation time in ticks of the stream.
        shown: false where an edit list has it decoded only.
        payload: its NAL units as they go into the clip.
    """

    packet: "Packet[VideoStream]"
    pts: int
    shown: bool
    idr: bool
    payload: bytes


def tick_of(stream: "VideoStream") -> Fraction:
    if not stream.time_base:
        raise MediaError("the stream has no time base")
    return stream.time_base


def pts_of(timed: "Packet[VideoStream] | VideoFrame") -> int:
    if timed.pts is None:
        raise MediaError("its frames have no presentation times")
    return timed.pts


def parameter_sets(stream: "VideoStream", limits: DecodingLimits) -> ParameterSets:
    """The stream's sets, if it is something that encoded frames can be joined to and that readers show as it is."""
    context = stream.codec_context
    if context.codec.canonical_name != "h264" or context.pix_fmt != "yuv420p":
        raise MediaError("only H.264 in yuv420p is copied")
    if context.width * context.height > limits.max_pixels:
        raise MediaError(f"{context.width}x{context.height} pixels are more than limits.max_pixels allows")
    if stream.sample_aspect_ratio not in (None, 0, 1):
        raise MediaError("its pixels are not square")
    sets = ParameterSets.read(context.extradata or b"")
    if sets.profile not in _PROFILES or context.field_order != _PROGRESSIVE:
        raise MediaError("only progressive video of Baseline, Main or High profile is copied")
    return sets


def access_units(
    container: "InputContainer", stream: "VideoStream", sets: ParameterSets, span: Span, seek: bool
) -> tuple[list[Unit], list[int]]:
    """What decoding the span takes, in decoding order, from the last IDR picture at or before it; and its frames' pts.

    Raises:
        MediaError: there is no such picture, or the packets' times are not those of the span.
    """
    tick = tick_of(stream)
    begin = int((span.start_ns - span.lead_ns) / (tick * NANOSECONDS))
    if seek and stream.start_time is not None and begin > stream.start_time:
        container.seek(begin, stream=stream)
    units: list[Unit] = []
    shown: list[int] = []
    beyond = 0
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        unit = _unit(packet, sets)
        time_ns = int(unit.pts * tick * NANOSECONDS)  # as frames are timed when they are scanned
        if unit.idr and time_ns <= span.start_ns:
            units.clear()
        units.append(unit)
        if unit.shown and span.start_ns <= time_ns < span.end_ns:
            shown.append(unit.pts)
        beyond += time_ns >= span.end_ns
        if beyond > REORDERED_FRAMES:
            break
    shown.sort()
    if not units or not units[0].idr:
        raise MediaError("no IDR picture is before the span")
    if len(set(shown)) != span.frames or len(shown) != span.frames:
        raise MediaError(f"{len(shown)} packets have times within the span of {span.frames} frames")
    if int(shown[0] * tick * NANOSECONDS) != span.start_ns:
        raise MediaError("no packet has the time of the span's first frame")
    while units[-1].pts > shown[-1]:
        units.pop()
    return units, shown


def _unit(packet: "Packet[VideoStream]", sets: ParameterSets) -> Unit:
    if packet.has_sidedata("new_extradata"):  # a file joined from others, or one that has a second sample entry
        raise MediaError("its parameter sets change")
    nals, idr = [], False
    for nal in h264.split(bytes(packet), sets.length_size):
        kind = h264.kind(nal)
        idr |= kind == h264.IDR
        if kind in (h264.SLICE, h264.IDR, h264.SEI):
            nals.append(nal)
        elif kind not in h264.REDUNDANT and nal not in sets.sps and nal not in sets.pps:
            raise MediaError("its parameter sets change, or it has more than plain pictures")
    return Unit(packet, pts_of(packet), not packet.is_discard, idr, h264.framed(nals))


def copied_run(units: list[Unit], shown: list[int]) -> range:
    """The longest range of units that begins at the span's first IDR picture and ends cleanly."""
    pts = [unit.pts for unit in units]
    start = next((index for index, unit in enumerate(units) if unit.idr and unit.pts >= shown[0]), None)
    if start is None:
        raise MediaError("no IDR picture is in the span")
    first = pts[start]
    if max(pts[:start], default=first - 1) >= first or min(pts[start:]) < first or first not in shown:
        raise MediaError("frames are shown across an IDR picture")
    wanted = shown[shown.index(first) :]
    stop, latest = start, first
    for index in range(start, len(units)):
        if not units[index].shown or pts[index] > shown[-1]:
            break
        latest = max(latest, pts[index])
        if wanted[index - start] == latest:  # as many as there are up to the latest: it is all of them
            stop = index + 1
    if stop - start < _LEAST_SHARE * len(shown):
        raise MediaError("too few frames are in whole groups of pictures")
    return range(start, stop)

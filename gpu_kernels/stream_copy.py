"""Cutting a clip by copying: only the frames at its edges are encoded, in the source's codec.

A copied run begins at a keyframe that nothing in the run needs to look past. It ends where, in decoding order, all
frames so far are all frames up to some time: nothing is missing, and nothing more is shown. Frames of the span before
and after the run are encoded, from a keyframe on, with parameter sets of ids that the source does not use, in codecs
that have such: one record then serves both, every picture names the sets that it needs, and there are none between the
frames, where some readers would not look.

What there is to know of each codec is in `h264`, `hevc` and `vp9`.

Nothing is taken on trust. The packets around each seam are decoded as they stand in the clip and compared with the
source's frames; and the finished file is read back and must hold the very packets, times and parameter sets.

The ffmpeg program only encodes the sound: not every version of it keeps the time of the last frame when it copies.
`splice`, `join` and `digest` run inside the sandbox's child; `copy_clip` is their parent.
"""

import hashlib
import heapq
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gpu_kernels.bitstream import Bitstream
from gpu_kernels.clip_encoding import ClipFilesConfig, Span, encode_sound, is_seekable
from gpu_kernels.containers import NANOSECONDS, open_media
from gpu_kernels.copied_runs import (
    Sample,
    access_units,
    bitstream_of,
    check_shown_as_coded,
    copied_run,
    pts_of,
    tick_of,
)
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, Send
from gpu_kernels.seams import Edges, packet_of
from gpu_kernels.streams import video_stream

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

_PART_BYTES = 64 << 20


def copy_clip(nursery: Nursery, source: str, target: str, container: str, span: Span, config: ClipFilesConfig) -> int:
    """Write the frames of `span` to a new MP4 file `target`, copying those that can be copied exactly.

    Returns:
        How many frames were copied; at least a quarter.

    Raises:
        MediaError: this span cannot be cut so, with the reason. `target` may be there, and is not to be used.
    """
    cut = {"path": source, "seek": is_seekable(container), "span": asdict(span)}
    with tempfile.TemporaryDirectory(dir=Path(target).parent) as parts:
        video, sound = f"{parts}/video.mp4", f"{parts}/sound.m4a"
        facts = _received(nursery, "splice", video, **cut)
        if facts["sound"]:
            encode_sound(source, sound, container, span, config, nursery.limits)
            _received(nursery, "join", target, path=video, sound=sound)
        else:
            os.replace(video, target)
    ((found, _),) = nursery.run("gpu_kernels.stream_copy:digest", path=target)
    if found["digest"] != facts["digest"]:
        raise MediaError("the clip file does not hold the packets that were joined")
    return int(facts["copied"])


def _received(nursery: Nursery, operation: str, target: str, **arguments: Any) -> dict[str, Any]:
    """Write the parts that an operation sends to the file `target`; returns what its messages say."""
    facts: dict[str, Any] = {}
    with open(target, "wb") as file:
        for header, buffers in nursery.run(f"gpu_kernels.stream_copy:{operation}", **arguments):
            facts |= header
            for buffer in buffers:
                file.write(buffer)
    return facts


# ---------------------------------------------------------------- in the child


def splice(send: Send, limits: DecodingLimits, path: str, seek: bool, span: dict[str, int]) -> None:
    """Sandboxed operation: messages with the parts of an MP4 file without sound, then one with what is in it."""
    with open_media(path) as container:
        stream = video_stream(container)
        bitstream = bitstream_of(stream, limits)
        tick = tick_of(stream)
        units, shown = access_units(container, stream, bitstream, Span(**span), seek)
        run = copied_run(bitstream, units, shown)
        edges = Edges(stream, bitstream, shown)
        check_shown_as_coded(stream, units)
        samples = [*edges.before(units, run), *run.samples, *edges.after(units, run)]
        if [sample.pts for sample in sorted(samples, key=lambda sample: sample.pts)] != shown:
            raise MediaError("frames are missing at its edges")
        end = shown[-1] + max(1, round(span["end_ns"] / (tick * NANOSECONDS)) - shown[-1])
        depth = edges.stated_depth(run.samples[0])
        _send_parts(send, _muxed(stream, edges.bitstream, samples, end, depth))
        packets = (((sample.pts - shown[0]) * tick, sample.payload) for sample in samples)
        send(
            {
                "kind": "clip",
                "digest": _digest(edges.bitstream.record(), packets),
                "copied": len(run.samples),
                "sound": bool(container.streams.audio),
            }
        )


def join(send: Send, limits: DecodingLimits, path: str, sound: str) -> None:
    """Sandboxed operation: messages with the parts of an MP4 file that has the frames of `path`, and `sound`."""
    with open_media(path) as video, open_media(sound) as heard:
        clip = io.BytesIO()
        frames = video.streams.video[0]
        streams = [frames, *heard.streams.audio]  # there is none where the source's sound has ended before
        with _mp4(clip, tick_of(frames)) as container:
            tracks = {stream.type: container.add_stream_from_template(stream) for stream in streams}
            tracks["video"].codec_context.codec_tag = frames.codec_context.codec_tag
            for packet in heapq.merge(*(_packets(stream) for stream in streams), key=_decoded):
                packet.stream = tracks[packet.stream.type]
                container.mux(packet)
        _send_parts(send, clip.getbuffer())


def _packets(stream: "VideoStream | AudioStream") -> "Iterator[Packet[Any]]":
    container = cast("InputContainer", stream.container)
    return (packet for packet in container.demux(stream) if packet.size)


def _decoded(packet: "Packet[Any]") -> Fraction:
    """When a packet is to be decoded, in seconds."""
    return (packet.dts or 0) * (packet.time_base or Fraction(1))


def _send_parts(send: Send, clip: memoryview) -> None:
    for at in range(0, len(clip), _PART_BYTES):
        send({"kind": "part"}, clip[at : at + _PART_BYTES])


def digest(send: Send, limits: DecodingLimits, path: str) -> None:
    """Sandboxed operation: one message with the digest of a file's video packets, times and parameter sets."""
    with open_media(path) as container:
        stream = video_stream(container)
        tick = tick_of(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        if any(packet.is_discard for packet in packets):
            raise MediaError("the clip file hides frames")
        first = min(pts_of(packet) for packet in packets)
        timed = (((pts_of(packet) - first) * tick, bytes(packet)) for packet in packets)
        send({"kind": "digest", "digest": _digest(stream.codec_context.extradata or b"", timed)})


def _digest(record: bytes, packets: Iterable[tuple[Fraction, bytes]]) -> str:
    state = hashlib.sha256(record)
    for seconds, payload in packets:
        state.update(f"{seconds} {len(payload)} ".encode())
        state.update(payload)
    return state.hexdigest()


def _muxed(stream: "VideoStream", bitstream: Bitstream, samples: list[Sample], end: int, depth: int) -> memoryview:
    """An MP4 file of the samples; the last frame is shown until `end`.

    Raises:
        MediaError: frames are reordered by more than `depth`, so that decoders may drop some where they find out.
    """
    order = sorted(sample.pts for sample in samples)
    position = {pts: index for index, pts in enumerate(order)}
    needed = max(index - position[sample.pts] for index, sample in enumerate(samples))
    if needed > depth:
        raise MediaError("its frames are reordered by more than it states")
    shown_for = {pts: following - pts for pts, following in pairwise([*order, end])}
    # Decoding times are presentation times in order, moved ahead by the frames that are reordered.
    step = [*order, end][1] - order[0]
    decoding = ([order[0] - step * (needed - index) for index in range(needed)] + order)[: len(order)]
    # Readers take the time between decoding the first and the end of the last for the length of the track.
    shown_for[samples[-1].pts] = max(1, end - step * needed - decoding[-1])
    clip = io.BytesIO()
    with _mp4(clip, tick_of(stream)) as container:
        track = container.add_stream_from_template(stream)
        track.codec_context.codec_tag = bitstream.tag
        track.codec_context.extradata = bitstream.record() or None
        for sample, dts in zip(samples, decoding, strict=True):
            packet = packet_of(sample.pts - order[0], sample.payload)
            packet.dts, packet.time_base = dts - order[0], tick_of(stream)
            packet.duration = shown_for[sample.pts]
            packet.is_keyframe = sample.key
            packet.stream = track
            container.mux(packet)
    return clip.getbuffer()


def _mp4(clip: io.BytesIO, tick: Fraction) -> "OutputContainer":
    """An MP4 file that is written to `clip`, its index at the front; times of the video are multiples of `tick`."""
    import av

    options = {"fflags": "+bitexact", "movflags": "+faststart", "video_track_timescale": str(tick.denominator)}
    # To move what it has written, the muxer reads it through a second opening of the file.
    return av.open(clip, "w", format="mp4", options=options, io_open=lambda *_: _Reread(clip))


class _Reread:
    """Reads a file that is still being written, at a place of its own."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file, self._at = file, 0

    def read(self, size: int) -> bytes:
        with self._file.getbuffer() as whole:
            part = bytes(whole[self._at : self._at + size])
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._file.getbuffer())}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None: ...

"""Cutting a clip by copying: only the frames at its edges are encoded, in the source's codec.

A copied run begins at a keyframe that nothing in the run needs to look past. It ends where, in decoding order, all
frames so far are all frames up to some time: nothing is missing, and nothing more is shown. Frames of the span before
and after the run are encoded, from a keyframe on, with parameter sets of ids that the source does not use, in codecs
that have such: one record then serves both, every picture names the sets that it needs, and there are none between the
frames, where some readers would not look.

What there is to know of each codec is in `h264`, `hevc` and `vp9`.

Nothing is taken on trust. The packets around each seam are decoded as they stand in the clip and compared with the
source's frames; and the finished file is read back and must hold the very packets, times and parameter sets.

Runs inside the sandbox's child.
"""

import hashlib
import io
from collections.abc import Iterable
from fractions import Fraction

from gpu_kernels.cutting.copied_runs import (
    access_units,
    bitstream_of,
    check_shown_as_coded,
    copied_run,
    pts_of,
    tick_of,
)
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.muxing import ClipFile
from gpu_kernels.cutting.seams import Edges
from gpu_kernels.cutting.sound import encode_sound
from gpu_kernels.cutting.spans import Span
from gpu_kernels.media.containers import NANOSECONDS, open_media
from gpu_kernels.media.streams import video_stream
from gpu_kernels.sandbox import DecodingLimits, MediaError, Send


def copied_clip(
    send: Send, path: str, span: Span, config: ClipFilesConfig, limits: DecodingLimits
) -> tuple[memoryview, int]:
    """An MP4 file of the frames of `span`, and how many of them were copied; at least a quarter.

    Raises:
        MediaError, ValueError, IndexError: this span cannot be cut so, with the reason.
    """
    with open_media(path) as container:
        stream = video_stream(container)
        bitstream = bitstream_of(stream, limits)
        tick = tick_of(stream)
        units, shown = access_units(container, stream, bitstream, span)
        run = copied_run(bitstream, units, shown)
        edges = Edges(stream, bitstream, shown)
        check_shown_as_coded(stream, units)
        samples = [*edges.before(units, run), *run.samples, *edges.after(units, run)]
        if [sample.pts for sample in sorted(samples, key=lambda sample: sample.pts)] != shown:
            raise MediaError("frames are missing at its edges")
        for index in (0, len(shown) // 2, len(shown) - 1):
            edges.compare(units, samples, shown[index])
        end = shown[-1] + max(1, round(span.end_ns / (tick * NANOSECONDS)) - shown[-1])
        depth = edges.stated_depth(run.samples[0])
        clip = ClipFile(tick)
        track = clip.container.add_stream_from_template(stream)
        track.codec_context.codec_tag = edges.bitstream.tag
        track.codec_context.extradata = edges.bitstream.record() or None
        data = clip.write(track, samples, end, encode_sound(send, path, span, clip, config.audio_kbits), depth)
        wanted = _digest(
            edges.bitstream.record(), (((sample.pts - shown[0]) * tick, sample.payload) for sample in samples)
        )
        if _digest_of(data) != wanted:
            raise MediaError("the clip file does not hold the packets that were joined")
        return data, len(run.samples)


def _digest_of(clip: memoryview) -> str:
    """The digest of a file's video packets, times and parameter sets."""
    import av

    with av.open(io.BytesIO(clip), "r") as container:
        stream = container.streams.video[0]
        tick = tick_of(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        if any(packet.is_discard for packet in packets):
            raise MediaError("the clip file hides frames")
        first = min(pts_of(packet) for packet in packets)
        timed = (((pts_of(packet) - first) * tick, bytes(packet)) for packet in packets)
        return _digest(stream.codec_context.extradata or b"", timed)


def _digest(record: bytes, packets: Iterable[tuple[Fraction, bytes]]) -> str:
    state = hashlib.sha256(record)
    for seconds, payload in packets:
        state.update(f"{seconds} {len(payload)} ".encode())
        state.update(payload)
    return state.hexdigest()

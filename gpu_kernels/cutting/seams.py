"""The frames of a clip before and after what is copied: encoded, and compared with the source's across both seams.

Runs inside the sandbox's child.
"""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from gpu_kernels.codecs.bitstream import Bitstream
from gpu_kernels.cutting.copied_runs import Run, Unit, pts_of
from gpu_kernels.cutting.muxing import Sample, packet_of
from gpu_kernels.sandbox import MediaError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

_LEAST_PSNR = 40.0
"""In dB, over all three planes, of every frame that is encoded."""

_SEAM_FRAMES = 8
"""Copied frames that are compared at a seam."""


class Edges:
    """Encodes the frames before and after the copied run, and compares clip and source across both seams.

    Attributes:
        bitstream: the clip's: the source's, and what the encoder adds.
    """

    def __init__(self, stream: "VideoStream", bitstream: Bitstream, shown: list[int]) -> None:
        self._source = stream.codec_context
        self._source.thread_count = 1
        self._source.thread_type = "NONE"
        self._first, self._last = shown[0], shown[-1]
        self._encoder = _encoder(bitstream, self._source, stream.guessed_rate or Fraction(25))
        self._encoded = 0
        self.bitstream = bitstream.joined(self._encoder.extradata or b"")

    def before(self, units: list[Unit], run: Run) -> list[Sample]:
        """The span's frames before the run, encoded."""
        entry, compared = run.samples[0].pts, run.samples[:_SEAM_FRAMES]
        comparison = _Comparison(self.bitstream)
        samples: list[Sample] = []
        for frame in self._decoded(units[: run.units[len(compared) - 1] + 1], self._first):
            pts = pts_of(frame)
            comparison.expect(frame, pts, exact=pts >= entry)
            if pts < entry:
                samples.append(self._encode(frame, pts, first=not samples))
                comparison.decode(samples[-1])
        for sample in compared:
            comparison.decode(sample)
        comparison.end()
        return samples

    def after(self, units: list[Unit], run: Run) -> list[Sample]:
        """The span's frames after the run, encoded."""
        stop = run.units[-1] + 1
        if stop == len(units):
            return []
        entry = max(index for index in run.units if units[index].entry)
        references = units[entry : max(entry, stop - _SEAM_FRAMES)]
        compared = max((unit.pts for unit in references), default=units[entry].pts - 1) + 1
        latest = max(unit.pts for unit in units[entry:stop])
        comparison = _Comparison(self.bitstream, compared)
        for sample in run.samples[run.units.index(entry) :]:
            comparison.decode(sample)
        samples: list[Sample] = []
        for frame in self._decoded(units[entry:], compared):
            pts = pts_of(frame)
            if pts > self._last:
                break
            comparison.expect(frame, pts, exact=pts <= latest)
            if pts > latest:
                samples.append(self._encode(frame, pts, first=not samples))
                comparison.decode(samples[-1])
        comparison.end()
        return samples

    def compare(self, units: list[Unit], samples: list[Sample], pts: int) -> None:
        """Hold one frame of the clip, as it is decoded from the keyframe before it, against the source's.

        Raises:
            MediaError: they differ.
        """
        number = next(index for index, unit in enumerate(units) if unit.pts == pts)
        entry = max(index for index in range(number + 1) if units[index].entry and units[index].pts <= pts)
        source = next((frame for frame in self._decoded(units[entry:], pts) if pts_of(frame) == pts), None)
        position = next(index for index, sample in enumerate(samples) if sample.pts == pts)
        key = max(index for index in range(position + 1) if samples[index].key and samples[index].pts <= pts)
        decoder = _decoder(self.bitstream)
        clip: VideoFrame | None = None
        for sample in [*samples[key:], None]:
            decoder.skip_frame = _skipped(self.bitstream, sample is not None and sample.pts < pts)
            packet = sample and packet_of(sample.pts, sample.payload)
            clip = next((frame for frame in decoder.decode(packet) if pts_of(frame) == pts), None)
            if clip is not None:
                break
        if source is None or clip is None:
            raise MediaError("a frame of the clip cannot be decoded")
        if (psnr := _psnr(_planes(source), _planes(clip))) < _LEAST_PSNR:
            raise MediaError(f"a frame of the clip differs from the source's: {psnr:.1f} dB")

    def stated_depth(self, entry: Sample) -> int:
        """By how many frames the source states to be reordered: what a decoder knows after its first picture."""
        decoder = _decoder(self.bitstream)
        decoder.decode(packet_of(entry.pts, entry.payload))
        return decoder.reorder_depth

    def _decoded(self, units: list[Unit], first: int) -> Iterator["VideoFrame"]:
        """The source's frames from `first` on, in presentation order; of those before, only references are decoded."""
        self._source.flush_buffers()
        for unit in [*units, None]:
            passed = unit is not None and unit.pts < first
            self._source.skip_frame = _skipped(self.bitstream, passed)
            for frame in self._source.decode(unit and unit.packet):
                if frame.is_corrupt or frame.format.name != "yuv420p" or frame.interlaced_frame or frame.rotation:
                    raise MediaError("a frame at its edges is damaged, interlaced, rotated or not in yuv420p")
                if pts_of(frame) >= first:
                    yield frame

    def _encode(self, frame: "VideoFrame", pts: int, first: bool) -> Sample:
        from av.video.frame import PictureType

        frame.pts, frame.time_base = self._encoded, self._encoder.time_base
        frame.pict_type = PictureType.I if first else PictureType.NONE
        self._encoded += 1
        (packet,) = self._encoder.encode(frame)  # without lookahead and reordering, each frame gives its packet
        return Sample(pts, first, self.bitstream.encoded(bytes(packet)))


class _Comparison:
    """Decodes the clip around a seam and holds its frames against the source's, from `first` on."""

    def __init__(self, bitstream: Bitstream, first: int | None = None) -> None:
        self._bitstream, self._decoder = bitstream, _decoder(bitstream)
        self._first = first
        self._expected: deque[tuple[int, bool, list[np.ndarray]]] = deque()
        self._seen: deque[tuple[int, list[np.ndarray]]] = deque()

    def expect(self, frame: "VideoFrame", pts: int, exact: bool) -> None:
        """The next frame of the source; `exact` if its very packet is in the clip."""
        self._expected.append((pts, exact, _planes(frame)))

    def decode(self, sample: Sample) -> None:
        """The next packet of the clip."""
        passed = self._first is not None and sample.pts < self._first
        self._decoder.skip_frame = _skipped(self._bitstream, passed)
        self._take(self._decoder.decode(packet_of(sample.pts, sample.payload)))

    def end(self) -> None:
        """Both are at their end.

        Raises:
            MediaError: they have not the same frames.
        """
        self._take(self._decoder.decode(None))
        self._compare()
        if self._expected or self._seen:
            raise MediaError("the clip has more or fewer frames at a seam than the source")

    def _take(self, frames: list["VideoFrame"]) -> None:
        for frame in frames:
            if self._first is None or pts_of(frame) >= self._first:
                self._seen.append((pts_of(frame), _planes(frame)))
        self._compare()

    def _compare(self) -> None:
        while self._expected and self._seen:
            wanted, exact, source = self._expected.popleft()
            pts, clip = self._seen.popleft()
            if pts != wanted or [plane.shape for plane in clip] != [plane.shape for plane in source]:
                raise MediaError("the clip's frames at a seam are not the source's")
            psnr = _psnr(source, clip)
            if psnr < (np.inf if exact else _LEAST_PSNR):
                kind = "copied" if exact else "encoded"
                raise MediaError(f"a frame {kind} at a seam differs from the source's: {psnr:.1f} dB")


def _planes(frame: "VideoFrame") -> list[np.ndarray]:
    """Views of a frame's planes: uint8 [height, width]."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]


def _psnr(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    import cv2

    squares = sum(cv2.norm(one, other, cv2.NORM_L2SQR) for one, other in zip(a, b, strict=True))
    return float(10 * np.log10(255**2 * sum(plane.size for plane in a) / squares)) if squares else float("inf")


def _skipped(bitstream: Bitstream, passed: bool) -> Literal["NONREF", "DEFAULT"]:
    """What a decoder skips of the pictures that are not compared."""
    return "NONREF" if passed and bitstream.skips_unreferenced else "DEFAULT"


def _encoder(bitstream: Bitstream, source: "VideoCodecContext", rate: Fraction) -> "VideoCodecContext":
    from av.codec.context import CodecContext, Flags

    encoder = cast("VideoCodecContext", CodecContext.create(bitstream.encoder, "w"))
    encoder.width, encoder.height, encoder.pix_fmt = source.width, source.height, "yuv420p"
    encoder.framerate, encoder.time_base = rate, 1 / rate
    encoder.color_range, encoder.colorspace = source.color_range, source.colorspace
    encoder.color_primaries, encoder.color_trc = source.color_primaries, source.color_trc
    if source.sample_aspect_ratio:
        encoder.sample_aspect_ratio = source.sample_aspect_ratio
    encoder.thread_count = 1  # threads change its output
    encoder.flags |= Flags.global_header
    encoder.options = bitstream.options
    encoder.open()
    return encoder


def _decoder(bitstream: Bitstream) -> "VideoCodecContext":
    from av.codec.context import CodecContext

    decoder = cast("VideoCodecContext", CodecContext.create(bitstream.decoder, "r"))
    decoder.extradata = bitstream.record() or None
    decoder.thread_count = 1
    return decoder

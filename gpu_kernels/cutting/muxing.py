"""A clip's MP4 file: H.264, HEVC or VP9 in presentation time, AAC beside it, the index at the front.

Runs inside the sandbox's child. The file is made in memory, since the child may not write any.
"""

import heapq
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gpu_kernels.sandbox import MediaError

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Sample:
    """A packet of the clip's video; `pts` in ticks. Readers may seek to a `key` and show all from it."""

    pts: int
    key: bool
    payload: bytes


class ClipFile:
    """An MP4 file in the making: add its tracks, then `write` their packets.

    Args:
        tick: of the video's times, in seconds.
    """

    def __init__(self, tick: Fraction) -> None:
        import av

        self.tick, self._data = tick, io.BytesIO()
        options = {"fflags": "+bitexact", "movflags": "+faststart", "video_track_timescale": str(tick.denominator)}
        # To move what it has written, the muxer reads it through a second opening of the file.
        self.container: OutputContainer = av.open(
            self._data, "w", format="mp4", options=options, io_open=lambda *_: _Reread(self._data)
        )

    def write(
        self,
        track: "VideoStream",
        samples: Sequence[Sample],
        end: int,
        sound: Sequence["Packet[Any]"] = (),
        depth: int | None = None,
    ) -> memoryview:
        """The file's bytes.

        Args:
            samples: in decoding order.
            end: when the last frame has been shown, in ticks.
            sound: packets of another track, which was added before.
            depth: how far decoders reckon with frames to be reordered, if they do not find out by themselves.

        Raises:
            MediaError: frames are reordered by more than `depth`, so that decoders may drop some where they find out.
        """
        for packet in heapq.merge(self._packets(track, samples, end, depth), sound, key=_decoded):
            self.container.mux(packet)
        self.container.close()
        return self._data.getbuffer()

    def _packets(
        self, track: "VideoStream", samples: Sequence[Sample], end: int, depth: int | None
    ) -> Iterator["Packet[Any]"]:
        order = sorted(sample.pts for sample in samples)
        position = {pts: index for index, pts in enumerate(order)}
        needed = max(index - position[sample.pts] for index, sample in enumerate(samples))
        if depth is not None and needed > depth:
            raise MediaError("its frames are reordered by more than it states")
        shown_for = {pts: following - pts for pts, following in pairwise([*order, end])}
        # Decoding times are presentation times in order, moved ahead by the frames that are reordered.
        step = [*order, end][1] - order[0]
        decoding = ([order[0] - step * (needed - index) for index in range(needed)] + order)[: len(order)]
        # Readers take the time between decoding the first and the end of the last for the length of the track.
        shown_for[samples[-1].pts] = max(1, end - step * needed - decoding[-1])
        for sample, dts in zip(samples, decoding, strict=True):
            packet = packet_of(sample.pts - order[0], sample.payload)
            packet.dts, packet.time_base = dts - order[0], self.tick
            packet.duration = shown_for[sample.pts]
            packet.is_keyframe = sample.key
            packet.stream = track
            yield packet


def packet_of(pts: int, payload: bytes) -> "Packet[Any]":
    """A packet to decode or to write."""
    from av import Packet

    packet = Packet(payload)
    packet.pts = pts
    return packet


def _decoded(packet: "Packet[Any]") -> Fraction:
    """When a packet is to be decoded, in seconds."""
    return (packet.dts or 0) * (packet.time_base or Fraction(1))


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

"""The little of VP9's syntax that joining two streams takes (VP9 Bitstream Specification, 6.2, 7.2 and annex B).

A keyframe resets all that a decoder keeps, and no packet needs a later one; so a run is left cleanly anywhere, and
before it any encoder's frames may stand.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gpu_kernels.codecs.bitstream import Picture
from gpu_kernels.sandbox import MediaError

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

_SYNC = 0x498342
_RGB = 7
_REFERENCES = 3

_QUANTISER = 10
"""Keeps even white noise above the least PSNR, at 42.2 dB."""


@dataclass(frozen=True)
class Vp9:
    """A VP9 stream of profile 0, 8-bit 4:2:0, all its frames of one size; edges are encoded by libvpx."""

    width: int
    height: int

    decoder: ClassVar[str] = "vp9"
    encoder: ClassVar[str] = "libvpx-vp9"
    tag: ClassVar[str] = "vp09"

    @classmethod
    def of(cls, context: "VideoCodecContext") -> "Vp9":
        """The stream that a decoder was opened for.

        Raises:
            MediaError: it has an odd side, of which encoded clips lose the last line or column.
        """
        if context.width % 2 or context.height % 2:
            raise MediaError("a side of it is odd")
        return cls(context.width, context.height)

    @property
    def skips_unreferenced(self) -> bool:
        """FFmpeg does not skip such pictures of VP9."""
        return False

    @property
    def options(self) -> dict[str, str]:
        """libvpx in its fastest form."""
        quantiser = dict.fromkeys(("crf", "qmin", "qmax"), str(_QUANTISER))
        return quantiser | {"b": "0", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "100000"}

    def picture(self, packet: bytes) -> Picture:
        """A packet is a frame, or several of which one is shown."""
        frames = [self._frame(data) for data in _frames(packet)]
        if sum(shown for _, shown in frames) != 1:
            raise MediaError("a packet shows no frame, or more than one")
        return Picture(packet, frames[0][0])

    def opening(self, payload: bytes) -> bytes:
        """A keyframe, as it is."""
        return payload

    def joined(self, extradata: bytes) -> "Vp9":
        """As it is: frames bring with them what they need."""
        return self

    def encoded(self, packet: bytes) -> bytes:
        """As it is."""
        return packet

    def record(self) -> bytes:
        """Empty: FFmpeg writes the `vpcC` record."""
        return b""

    def _frame(self, data: bytes) -> tuple[bool, bool]:
        """Whether a frame is a keyframe, and whether it is shown.

        Raises:
            MediaError: readers would not show it as it is.
        """
        bits = _Bits(data)
        if bits.read(2) != 2:
            raise ValueError("it is no frame")
        if bits.read(2):
            raise MediaError("only profile 0 of VP9 is copied")
        if bits.read(1):
            return False, True  # one that was decoded before
        key, shown, resilient = not bits.read(1), bool(bits.read(1)), bits.read(1)
        if key:
            bits.expect(24, _SYNC)
            if bits.read(3) == _RGB or bits.read(1):
                raise MediaError("only video of limited range is copied")
            self._size(bits)
            return key, shown
        intra = not shown and bits.read(1)
        if not resilient:
            bits.read(2)
        if intra:
            bits.expect(24, _SYNC)
            bits.read(8)
            self._size(bits)
            return key, shown
        bits.read(8 + 4 * _REFERENCES)
        if any(bits.read(1) for _ in range(_REFERENCES)):
            self._shown_size(bits)  # it has the size of a reference
        else:
            self._size(bits)
        return key, shown

    def _size(self, bits: "_Bits") -> None:
        if (bits.read(16) + 1, bits.read(16) + 1) != (self.width, self.height):
            raise MediaError("its frames differ in size")
        self._shown_size(bits)

    def _shown_size(self, bits: "_Bits") -> None:
        if bits.read(1) and (bits.read(16) + 1, bits.read(16) + 1) != (self.width, self.height):
            raise MediaError("its frames are to be shown in another size")


def _frames(packet: bytes) -> list[bytes]:
    """The frames of a packet: what the index at its end says, if there is one."""
    mark = packet[-1]
    count, width = (mark & 7) + 1, (mark >> 3 & 3) + 1
    begin = len(packet) - 2 - width * count
    if mark >> 5 != 6 or begin < 0 or packet[begin] != mark:
        return [packet]
    frames, at = [], 0
    for index in range(begin + 1, len(packet) - 1, width):
        size = int.from_bytes(packet[index : index + width], "little")
        frames.append(packet[at : at + size])
        at += size
    if at > begin or not all(frames):
        raise ValueError("the sizes of its frames are wrong")
    return frames


class _Bits:
    """Reads numbers from the beginning of a frame."""

    def __init__(self, data: bytes) -> None:
        head = data[:32]  # longer than any part that is read
        self._bits, self._at = f"{int.from_bytes(head, 'big'):0{8 * len(head)}b}", 0

    def read(self, count: int) -> int:
        self._at += count
        if self._at > len(self._bits):
            raise ValueError("a frame is cut short")
        return int(self._bits[self._at - count : self._at], 2)

    def expect(self, count: int, number: int) -> None:
        if self.read(count) != number:
            raise ValueError("a keyframe is damaged")

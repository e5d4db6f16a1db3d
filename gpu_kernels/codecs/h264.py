"""The little of H.264's syntax that joining two streams takes (ITU-T H.264, 7.3 and 7.4; ISO/IEC 14496-15, 5.3.3)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gpu_kernels.codecs.bitstream import Picture
from gpu_kernels.codecs.nal_units import as_listed, framed, listed, split
from gpu_kernels.sandbox import MediaError

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

SLICE, IDR, SEI, SPS, PPS = 1, 5, 6, 7, 8

_REDUNDANT = (9, 10, 11, 12)
"""Delimiters, ends of sequences and of streams, filler: an MP4 file needs none of them."""

_PROFILES = (66, 77, 100)
"""Baseline, Main and High: 8 bits, and what is encoded at the edges conforms to each."""

_PROGRESSIVE = 1
"""FFmpeg's AV_FIELD_PROGRESSIVE."""

_QUANTISER = 20
"""Keeps even white noise above the least PSNR, at 41.6 dB."""


def kind(nal: bytes) -> int:
    """The unit's nal_unit_type."""
    return nal[0] & 31


@dataclass(frozen=True)
class ParameterSets:
    """The sets of a stream, and how its units are delimited: `length_size` as in `nal_units.split`."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    length_size: int | None = None

    @classmethod
    def read(cls, extradata: bytes) -> "ParameterSets":
        """Out of an `avcC` record or of units between start codes.

        Raises:
            ValueError, IndexError: there are none, or the record is cut short.
        """
        if not extradata.startswith(b"\1"):
            nals = split(extradata, None)
            sps, pps = (tuple(nal for nal in nals if kind(nal) == wanted) for wanted in (SPS, PPS))
            length_size = None
        else:
            length_size = (extradata[4] & 3) + 1
            sps, at = listed(extradata, 6, extradata[5] & 31)
            pps, _ = listed(extradata, at + 1, extradata[at])
        if not sps or not pps or any(len(nal) < 4 for nal in sps) or any(len(nal) < 2 for nal in pps):
            raise ValueError("it has no parameter sets")
        return cls(sps, pps, length_size)

    def __add__(self, other: "ParameterSets") -> "ParameterSets":
        """The sets of both; they must have different ids."""
        return ParameterSets(self.sps + other.sps, self.pps + other.pps, self.length_size)

    @property
    def profile(self) -> int:
        """The largest profile_idc."""
        return max(nal[1] for nal in self.sps)

    @property
    def ids(self) -> set[int]:
        """The ids of all sets, of either kind."""
        return {_unsigned(nal, 4) for nal in self.sps} | {_unsigned(nal, 1) for nal in self.pps}

    def record(self) -> bytes:
        """An `avcC` record for units after four bytes of length, 8-bit 4:2:0."""
        constraints = 0xFF
        for nal in self.sps:
            constraints &= nal[2]
        record = bytes([1, self.profile, constraints, max(nal[3] for nal in self.sps), 0xFF, 0xE0 | len(self.sps)])
        record += as_listed(self.sps) + bytes([len(self.pps)]) + as_listed(self.pps)
        if self.profile not in (66, 77, 88):
            record += bytes([0xFC | 1, 0xF8, 0xF8, 0])
        return record


@dataclass(frozen=True)
class H264:
    """An H.264 stream; edges are encoded by x264 with parameter sets of an id that the source does not use."""

    sets: ParameterSets

    decoder: ClassVar[str] = "h264"
    encoder: ClassVar[str] = "libx264"
    tag: ClassVar[str] = "avc1"

    @classmethod
    def of(cls, context: "VideoCodecContext") -> "H264":
        """The stream that a decoder was opened for.

        Raises:
            MediaError: it is not such that edges can be encoded for it.
        """
        sets = ParameterSets.read(context.extradata or b"")
        if sets.profile not in _PROFILES or context.field_order != _PROGRESSIVE:
            raise MediaError("only progressive video of Baseline, Main or High profile is copied")
        return cls(sets)

    @property
    def skips_unreferenced(self) -> bool:
        """FFmpeg goes by nal_ref_idc, which says just that."""
        return True

    @property
    def options(self) -> dict[str, str]:
        """x264 in its fastest form, which any profile's decoder can read: quality is paid for in bytes, not in time."""
        free = min(set(range(32)) - self.sets.ids)
        return {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "qp": str(_QUANTISER),
            "forced-idr": "1",
            "x264-params": f"sps-id={free}:keyint=infinite:scenecut=0",
        }

    def picture(self, packet: bytes) -> Picture:
        """I-pictures that open groups refer across themselves, and are no entries: only IDR pictures are."""
        nals, idr = [], False
        for nal in split(packet, self.sets.length_size):
            idr |= kind(nal) == IDR
            if kind(nal) in (SLICE, IDR, SEI):
                nals.append(nal)
            elif kind(nal) not in _REDUNDANT and nal not in self.sets.sps and nal not in self.sets.pps:
                raise MediaError("its parameter sets change, or it has more than plain pictures")
        return Picture(framed(nals), idr)

    def opening(self, payload: bytes) -> bytes:
        """An IDR picture, as it is."""
        return payload

    def joined(self, extradata: bytes) -> "H264":
        """With the parameter sets of both."""
        return H264(self.sets + ParameterSets.read(extradata))

    def encoded(self, packet: bytes) -> bytes:
        """Its slices."""
        return framed([nal for nal in split(packet, None) if kind(nal) in (SLICE, IDR)])

    def record(self) -> bytes:
        """The `avcC` record."""
        return self.sets.record()


def _unsigned(nal: bytes, at: int) -> int:
    """The Exp-Golomb number at byte `at`; ids are small enough to end within three bytes."""
    bits = int.from_bytes(nal[at : at + 3].ljust(3, b"\0"), "big")
    zeros = 24 - bits.bit_length()
    if zeros > 11:
        raise ValueError("an id of a parameter set is out of range")
    return (bits >> (24 - 2 * zeros - 1)) - 1

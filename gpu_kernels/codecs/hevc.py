"""The little of HEVC's syntax that joining two streams takes (ITU-T H.265, 7.3 and 7.4; ISO/IEC 14496-15, 8.3.3)."""

import re
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, ClassVar

from gpu_kernels.codecs.bitstream import Picture
from gpu_kernels.codecs.nal_units import as_listed, framed, listed, split
from gpu_kernels.sandbox import MediaError

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

LEADING = range(6, 10)
"""RADL and RASL pictures."""

BLA_N_LP, CRA = 18, 21
_ENTRIES = range(16, 22)
_SLICES = (*range(10), *_ENTRIES)
VPS, SPS, PPS = 32, 33, 34
_SETS = (VPS, SPS, PPS)
_SEI = (39, 40)
_REDUNDANT = (35, 38)
"""Delimiters and filler. The end of a sequence is not: it changes how a CRA picture after it is decoded."""

_PROFILES = (1, 2)
"""Main and Main 10, which a stream of 8 bits may state as well; what is encoded at the edges conforms to both."""

_FIELD_ORDERS = (0, 1)
"""FFmpeg's AV_FIELD_UNKNOWN and AV_FIELD_PROGRESSIVE."""

_QUANTISER = 18
"""Keeps even white noise above the least PSNR, at 41.0 dB."""

_PROFILE_AT, _PROFILE_BITS = 24, 96
"""Where a sequence parameter set has its general profile, tier and level; in bits, its header included."""


def kind(nal: bytes) -> int:
    """The unit's nal_unit_type.

    Raises:
        MediaError: it is of another layer: a second view or an enhancement.
    """
    if nal[0] & 1 or nal[1] >> 3:
        raise MediaError("it has more than one layer")
    return nal[0] >> 1 & 63


@dataclass(frozen=True)
class ParameterSets:
    """The sets of a stream by kind, and how its units are delimited: `length_size` as in `nal_units.split`."""

    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    length_size: int | None = None

    @classmethod
    def read(cls, extradata: bytes) -> "ParameterSets":
        """Out of an `hvcC` record or of units between start codes.

        Raises:
            ValueError, IndexError: there are none, or the record is cut short.
        """
        if not extradata.startswith(b"\1"):
            nals, length_size = split(extradata, None), None
        else:
            nals, length_size = [], (extradata[21] & 3) + 1
            at = 23
            for _ in range(extradata[22]):
                found, at = listed(extradata, at + 3, int.from_bytes(extradata[at + 1 : at + 3], "big"))
                nals += found
        vps, sps, pps = (tuple(nal for nal in nals if kind(nal) == wanted) for wanted in _SETS)
        if not vps or not sps or not pps:
            raise ValueError("it has no parameter sets")
        return cls(vps, sps, pps, length_size)

    def __add__(self, other: "ParameterSets") -> "ParameterSets":
        """The sets of both; they must have different ids."""
        return ParameterSets(self.vps + other.vps, self.sps + other.sps, self.pps + other.pps, self.length_size)

    def __contains__(self, nal: bytes) -> bool:
        return nal in self.vps or nal in self.sps or nal in self.pps

    @property
    def ids(self) -> tuple[set[int], set[int], set[int]]:
        """The ids of the video, the sequence and the picture parameter sets."""
        return (
            {nal[2] >> 4 for nal in self.vps},
            {_number(bits, _sps_id_at(bits))[0] for bits in map(_bits, self.sps)},
            {_number(_bits(nal), 16)[0] for nal in self.pps},
        )

    @property
    def profiles(self) -> list[bytes]:
        """profile_tier_level of every sequence parameter set: the profile, flags, and the level in the last byte."""
        begin, end = _PROFILE_AT // 8, (_PROFILE_AT + _PROFILE_BITS) // 8
        return [_unescaped(nal)[begin:end].ljust(end - begin, b"\0") for nal in self.sps]

    @property
    def layers(self) -> int:
        """How many temporal layers there are."""
        return max((nal[2] >> 1 & 7) + 1 for nal in self.sps)

    def renamed(self, vps_id: int, sps_id: int, pps_id: int) -> "ParameterSets":
        """These, of which there is one of each kind with the id 0, with other ids."""
        (vps,), (sps,), (pps,) = self.vps, self.sps, self.pps
        bits = _bits(sps)
        at = _sps_id_at(bits)
        sps = f"{bits[:16]}{vps_id:04b}{bits[20:at]}{_coded(sps_id)}{_rest(bits, at)}"
        bits = _bits(pps)
        pps = f"{bits[:16]}{_coded(pps_id)}{_coded(sps_id)}{_rest(_rest(bits, 16), 0)}"
        vps = vps[:2] + bytes([vps_id << 4 | vps[2] & 15]) + vps[3:]
        return ParameterSets((vps,), (_escaped(sps),), (_escaped(pps),), self.length_size)

    def record(self) -> bytes:
        """An `hvcC` record for units after four bytes of length, 8-bit 4:2:0."""
        profiles = self.profiles
        highest = max(profile[0] for profile in profiles)
        flags = reduce(and_, (int.from_bytes(profile[1:11], "big") for profile in profiles))
        level = max(profile[11] for profile in profiles)
        nested = all(nal[2] & 1 for nal in self.sps)
        record = bytes([1, highest]) + flags.to_bytes(10, "big") + bytes([level, 0xF0, 0, 0xFC, 0xFC | 1, 0xF8, 0xF8])
        record += bytes([0, 0, self.layers << 3 | nested << 2 | 3, len(_SETS)])
        for name, nals in zip(_SETS, (self.vps, self.sps, self.pps), strict=True):
            record += bytes([0x80 | name]) + len(nals).to_bytes(2, "big") + as_listed(nals)
        return record


@dataclass(frozen=True)
class Hevc:
    """An HEVC stream; edges are encoded by x265, whose parameter sets get ids that the source does not use.

    Attributes:
        pps_id: what the encoder's pictures are to name instead of 0.
    """

    sets: ParameterSets
    pps_id: int = 0

    decoder: ClassVar[str] = "hevc"
    encoder: ClassVar[str] = "libx265"
    tag: ClassVar[str] = "hvc1"

    @classmethod
    def of(cls, context: "VideoCodecContext") -> "Hevc":
        """The stream that a decoder was opened for.

        Raises:
            MediaError: it is not such that edges can be encoded for it.
        """
        sets = ParameterSets.read(context.extradata or b"")
        interlaced = any(profile[5] >> 6 == 1 for profile in sets.profiles)
        if any(profile[0] & 31 not in _PROFILES for profile in sets.profiles):
            raise MediaError("only Main profile of HEVC is copied")
        if interlaced or context.field_order not in _FIELD_ORDERS:
            raise MediaError("only progressive video is copied")
        return cls(sets)

    @property
    def skips_unreferenced(self) -> bool:
        """FFmpeg takes pictures that none of their own temporal layer refers to for such that none refers to."""
        return self.sets.layers == 1

    @property
    def options(self) -> dict[str, str]:
        """x265 in its fastest form; small blocks are half as dear as its fastest preset."""
        return {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "qp": str(_QUANTISER),
            "forced-idr": "1",
            "x265-params": "keyint=-1:scenecut=0:ctu=16:rd=1:max-merge=1:"
            "pools=none:frame-threads=1:wpp=0:info=0:log-level=none",
        }

    def picture(self, packet: bytes) -> Picture:
        """Decoding may begin at any IRAP picture, its leading pictures left out."""
        nals: list[bytes] = []
        slices: list[int] = []
        for nal in split(packet, self.sets.length_size):
            if kind(nal) in _SLICES:
                slices.append(kind(nal))
            if kind(nal) in _SLICES or kind(nal) in _SEI:
                nals.append(nal)
            elif kind(nal) not in _REDUNDANT and nal not in self.sets:
                raise MediaError("its parameter sets change, or it has more than plain pictures")
        if len(slices) != 1:  # x265's do not always decode alike from a keyframe on and from before it
            raise MediaError("only pictures of one slice are copied")
        return Picture(framed(nals), slices[0] in _ENTRIES, slices[0] in LEADING)

    def opening(self, payload: bytes) -> bytes:
        """A CRA picture becomes a BLA picture: what is before it in the clip is not what was before it."""
        nals = split(payload, 4)
        return framed([bytes([BLA_N_LP << 1]) + nal[1:] if kind(nal) == CRA else nal for nal in nals])

    def joined(self, extradata: bytes) -> "Hevc":
        """With the parameter sets of both."""
        vps_ids, sps_ids, pps_ids = self.sets.ids
        # Ids from 15 to 30 take eight bits more than 0, so a slice stays as it is behind its first byte. The last bits
        # of these keep the byte they end in from being zero, which might need emulation prevention.
        free = (
            {16, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30} - pps_ids,
            set(range(16)) - sps_ids,
            set(range(16)) - vps_ids,
        )
        if not all(free):
            raise MediaError("all ids of parameter sets are in use")
        pps_id, sps_id, vps_id = map(min, free)
        return Hevc(self.sets + ParameterSets.read(extradata).renamed(vps_id, sps_id, pps_id), pps_id)

    def encoded(self, packet: bytes) -> bytes:
        """Its slices, which name the renamed sets."""
        return framed([_renamed(nal, self.pps_id) for nal in split(packet, None) if kind(nal) in _SLICES])

    def record(self) -> bytes:
        """The `hvcC` record."""
        return self.sets.record()


def _renamed(nal: bytes, pps_id: int) -> bytes:
    """The first slice of a picture, which names the picture parameter set 0, naming another; see `Hevc.joined`."""
    before = 2 if kind(nal) in _ENTRIES else 1  # flags, the first of which is set
    rest = 7 - before
    if not nal[2] & 0x80 or not nal[2] >> rest & 1:
        raise ValueError("the encoder's pictures are not as expected")
    header = (nal[2] >> rest + 1) << 9 | pps_id + 1
    return nal[:2] + (header << rest | nal[2] & (1 << rest) - 1).to_bytes(2, "big") + nal[3:]


# ---------------------------------------------------------------- bits, as text


def _unescaped(nal: bytes) -> bytes:
    return nal.replace(b"\0\0\3", b"\0\0")


def _bits(nal: bytes) -> str:
    """A parameter set without emulation prevention, its last bit 1 and what is after it left out."""
    plain = _unescaped(nal)
    return f"{int.from_bytes(plain, 'big'):0{8 * len(plain)}b}".rstrip("0")[:-1]


def _escaped(bits: str) -> bytes:
    """What `_bits` reads."""
    bits += "1"
    size = -(-len(bits) // 8)
    return re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big"))


def _number(bits: str, at: int) -> tuple[int, int]:
    """The Exp-Golomb number at a place, and where it ends."""
    one = bits.index("1", at)
    end = 2 * one - at + 1
    return int(bits[one:end], 2) - 1, end


def _coded(number: int) -> str:
    code = f"{number + 1:b}"
    return "0" * (len(code) - 1) + code


def _rest(bits: str, at: int) -> str:
    """What follows the Exp-Golomb number at a place.

    Raises:
        ValueError: the number is not 0.
    """
    number, end = _number(bits, at)
    if number:
        raise ValueError("the encoder's parameter sets are not as expected")
    return bits[end:]


def _sps_id_at(bits: str) -> int:
    """Where a sequence parameter set has its id: after the profiles and levels of its temporal layers."""
    at = _PROFILE_AT + _PROFILE_BITS
    sub_layers = int(bits[20:23], 2)
    if sub_layers:
        present = bits[at : at + 2 * sub_layers]
        at += 16 + 88 * present[::2].count("1") + 8 * present[1::2].count("1")
    return at

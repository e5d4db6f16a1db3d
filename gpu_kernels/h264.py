"""The little of H.264's syntax that joining two streams takes (ITU-T H.264, 7.3 and 7.4; ISO/IEC 14496-15, 5.3.3).

A NAL unit is `bytes`: its header byte and the payload with its emulation prevention, without start code or length.
"""

import re
from dataclasses import dataclass

SLICE, IDR, SEI, SPS, PPS = 1, 5, 6, 7, 8
REDUNDANT = (9, 10, 11, 12)
"""Delimiters, ends of sequences and of streams, filler: an MP4 file needs none of them."""

_START_CODE = re.compile(rb"\x00\x00\x01")


def kind(nal: bytes) -> int:
    """The unit's nal_unit_type."""
    return nal[0] & 31


def framed(nals: list[bytes]) -> bytes:
    """Units as a sample of an MP4 file has them: each after its length in four bytes."""
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def split(data: bytes, length_size: int | None) -> list[bytes]:
    """The units of an access unit: after lengths of `length_size` bytes, or between start codes if that is None.

    Raises:
        ValueError: a length points past the end.
    """
    if length_size is None:
        return [nal for part in _START_CODE.split(data)[1:] if (nal := part.rstrip(b"\0"))]
    nals, at = [], 0
    while at < len(data):
        begin = at + length_size
        at = begin + int.from_bytes(data[at:begin], "big")
        if not begin < at <= len(data):
            raise ValueError("the lengths of its NAL units are wrong")
        nals.append(data[begin:at])
    return nals


@dataclass(frozen=True)
class ParameterSets:
    """The sets of a stream, and how its units are delimited: `length_size` as in `split`."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    length_size: int | None = None

    @classmethod
    def read(cls, extradata: bytes) -> "ParameterSets":
        """Out of an `avcC` record or of units between start codes.

        Raises:
            ValueError: there are none, or the record is cut short.
        """
        if not extradata.startswith(b"\1"):
            nals = split(extradata, None)
            sps, pps = (tuple(nal for nal in nals if kind(nal) == wanted) for wanted in (SPS, PPS))
            length_size = None
        else:
            length_size = (extradata[4] & 3) + 1
            at = 5
            lists: list[tuple[bytes, ...]] = []
            for mask in (31, 255):
                count, at = extradata[at] & mask, at + 1
                found = []
                for _ in range(count):
                    size = int.from_bytes(extradata[at : at + 2], "big")
                    found.append(extradata[at + 2 : at + 2 + size])
                    at += 2 + size
                lists.append(tuple(found))
            sps, pps = lists
            if at > len(extradata):
                raise ValueError("its parameter sets are cut short")
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
        record += b"".join(len(nal).to_bytes(2, "big") + nal for nal in self.sps)
        record += bytes([len(self.pps)]) + b"".join(len(nal).to_bytes(2, "big") + nal for nal in self.pps)
        if self.profile not in (66, 77, 88):
            record += bytes([0xFC | 1, 0xF8, 0xF8, 0])
        return record


def _unsigned(nal: bytes, at: int) -> int:
    """The Exp-Golomb number at byte `at`; ids are small enough to end within three bytes."""
    bits = int.from_bytes(nal[at : at + 3].ljust(3, b"\0"), "big")
    zeros = 24 - bits.bit_length()
    if zeros > 11:
        raise ValueError("an id of a parameter set is out of range")
    return (bits >> (24 - 2 * zeros - 1)) - 1

"""How H.264 and HEVC delimit their NAL units in a packet (ITU-T H.264 and H.265, annex B; ISO/IEC 14496-15, 5 and 8).

A NAL unit is `bytes`: its header and the payload with its emulation prevention, without start code or length.
"""

import re

_START_CODE = re.compile(rb"\x00\x00\x01")


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


def listed(record: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """The parameter sets of an `avcC` or `hvcC` record from `at` on, each after its length in two bytes, and where they
    end.

    Raises:
        ValueError: the record is cut short.
    """
    nals: list[bytes] = []
    for _ in range(count):
        begin = at + 2
        at = begin + int.from_bytes(record[at:begin], "big")
        nals.append(record[begin:at])
    if at > len(record):
        raise ValueError("its parameter sets are cut short")
    return tuple(nals), at


def as_listed(nals: tuple[bytes, ...]) -> bytes:
    """What `listed` reads."""
    return b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)

"""Whether a media file is as long as its own structure says: a download that broke off is not.

Only the sizes of the outermost elements are read, so it takes microseconds, and nothing is trusted.
"""

import os
import struct
from typing import BinaryIO

_MOST_ELEMENTS = 100_000

_TS_PACKETS = (188, 192, 204)
"""Bytes of a transport stream's packet: plain, with a time code before it, with error correction after it."""

_SYNC = 0x47

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_OGG_PAGE = 27 + 255 + 255 * 255
_MXF_INDEX = bytes.fromhex("060e2b34020501010d01020101110100")

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067


def is_cut_short(path: str) -> bool:
    """Whether the file ends within an element; false also for formats that do not say."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(4096)
        if head[:4] in (b"RIFF", b"RIFX"):
            return _riff_end(file, size) > size
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"pnot"):
            return _boxes_end(file, size) > size
        if head[:4] == _EBML:
            return _segment_end(head) > size
        if head[:16] == _ASF:
            return _asf_end(head) > size
        if head[:4] == b"OggS":
            return _ogg_end(file, size) > size
    for length in _TS_PACKETS:
        starts = head[4 if length == 192 else 0 :: length]
        if len(starts) > 4 and set(starts) == {_SYNC}:
            return size % length != 0
    return False


def lacks_index(path: str) -> bool:
    """Whether the file is in MXF and does not end with where its parts are, so that seeking leads to wrong times."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if size < 20 or file.read(4) != _MXF_INDEX[:4]:
            return False
        file.seek(size - 4)
        (length,) = struct.unpack(">I", file.read(4))
        file.seek(max(0, size - length))
        return file.read(16) != _MXF_INDEX


def _asf_end(head: bytes) -> int:
    """How long an ASF file says that it is; 0 for one that was recorded live."""
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or at + 92 > len(head):
        return 0
    (size,) = struct.unpack_from("<Q", head, at + 40)
    (flags,) = struct.unpack_from("<I", head, at + 88)
    return 0 if flags & 1 else size


def _ogg_end(file: BinaryIO, size: int) -> int:
    """Where an Ogg file's last page ends."""
    file.seek(max(0, size - _OGG_PAGE))
    tail = file.read(_OGG_PAGE)
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    segments = tail[at + 26] if at + 26 < len(tail) else 0
    sizes = tail[at + 27 : at + 27 + segments]
    missing = 27 + segments + sum(sizes) - (len(tail) - at)
    return size + missing


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box of ISO/IEC 14496-12 ends."""
    at = 0
    for _ in range(_MOST_ELEMENTS):
        if at >= size:
            break
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            break  # a few bytes of padding
        (length,) = struct.unpack(">I", header[:4])
        if length == 0:  # to the end of the file
            return size
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
        if length < 8 or not header[4:8].isascii():
            break  # no box: something was appended
        at += length
    return at


def _riff_end(file: BinaryIO, size: int) -> int:
    """Where the last chunk of an AVI file ends; large ones have several RIFF chunks."""
    at = 0
    for _ in range(_MOST_ELEMENTS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8 or header[:4] != b"RIFF":
            break
        (length,) = struct.unpack("<I", header[4:])
        if length in (0, 0xFFFF_FFFF):  # written as it was recorded, and never filled in
            return size
        at += 8 + length + length % 2
    return at - 1 if at == size + 1 else at  # the last byte of padding is often left out


def _segment_end(head: bytes) -> int:
    """Where a Matroska file's first segment ends; 0 if it was written live and does not say."""
    at = 4
    length, width = _number(head, at)
    if length is None:
        return 0
    at += width + length
    if at + 12 > len(head) or int.from_bytes(head[at : at + 4], "big") != _SEGMENT:
        return 0
    length, width = _number(head, at + 4)
    return 0 if length is None else at + 4 + width + length


def _number(data: bytes, at: int) -> tuple[int | None, int]:
    """An EBML length and its width in bytes (RFC 8794, 4.4); None if it is unknown."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    if width > 8:
        return None, 1
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width

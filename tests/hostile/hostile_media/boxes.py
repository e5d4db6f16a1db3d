"""Boxes of ISO base media files: just enough to change one."""

import struct

_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"mvex", b"moof", b"traf", b"udta"}


def box(kind: bytes, body: bytes) -> bytes:
    """A box with its header."""
    return struct.pack(">I4s", len(body) + 8, kind) + body


def bodies(data: bytes, start: int = 0, end: int | None = None) -> list[tuple[bytes, int, int]]:
    """Kind, start and end of the body of every box, those within others included, in order."""
    found: list[tuple[bytes, int, int]] = []
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        stop = start + size
        if size < 8 or stop > end:
            break
        found.append((kind, start + 8, stop))
        if kind in _PARENTS:
            found += bodies(data, start + 8, stop)
        start = stop
    return found


def replaced(data: bytes, kind: bytes, body: bytes) -> bytes:
    """`data` with the body of the first box of a kind replaced, and the sizes of the boxes around it mended."""
    found = bodies(data)
    start, end = next((start, end) for name, start, end in found if name == kind)
    changed = bytearray(data[:start] + body + data[end:])
    for _, outer, stop in found:
        if outer <= start and end <= stop:
            size = struct.unpack_from(">I", data, outer - 8)[0] + len(body) - (end - start)
            struct.pack_into(">I", changed, outer - 8, size)
    return bytes(changed)

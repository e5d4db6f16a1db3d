"""A file that is read in ranges, wherever it lies: for readers that seek, such as those of archives."""

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from curate_resources.storage import object_stores
from curate_resources.storage.root import is_local, local_path

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 4 << 20


def range_file(uri: str) -> io.BufferedReader:
    """The content of a local file, an object or a URL, opened for reading and seeking; 4 MiB of it are in memory.

    Raises:
        FileNotFoundError: there is no such file.
        StorageUnavailable: it cannot be read.
        SourceChanged: while reading; it was replaced.
    """
    if is_local(uri):
        return open(local_path(uri), "rb")  # the caller closes it
    about = object_stores.stat(uri)
    ranges = _Ranges(about.bytes, lambda start, length: object_stores.read_range(uri, start, length, about.version))
    return io.BufferedReader(ranges, _BLOCK)


class _Ranges(io.RawIOBase):
    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read = read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._at))
        view[:length] = self._read(self._at, length) if length else b""
        self._at += length
        return length

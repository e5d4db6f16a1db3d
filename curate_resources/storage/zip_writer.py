"""Writing a ZIP front to back: members are stored as they are, and the bytes depend on nothing but their content."""

import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a ZIP can hold."""
_REGULAR_FILE = 0o100644 << 16
_UNIX = 3


class StoredZip:
    """A ZIP that is being written to a file; `close` writes its directory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self.close = self._archive.close

    @contextmanager
    def member(self, name: str) -> Generator[IO[bytes], None, None]:
        """A member of any length to write to, until the block ends."""
        about = zipfile.ZipInfo(name, _EPOCH)
        about.create_system, about.external_attr = _UNIX, _REGULAR_FILE
        with self._archive.open(about, "w", force_zip64=True) as content:
            yield content

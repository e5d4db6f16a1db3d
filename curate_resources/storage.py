"""Everything lives under one root, a URI; this is the only module that opens it."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

DEFAULT_ROOT = "./curate-data"

PARTIAL = ".partial"
"""How the names of files end that are still being written, or never were to their end."""


def root_uri(root: str | None = None) -> str:
    """The root to use: the argument, else `CURATE_ROOT`, else `./curate-data`; local folders become absolute paths."""
    uri = root or os.environ.get("CURATE_ROOT") or DEFAULT_ROOT
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().resolve())


def is_local(uri: str) -> bool:
    """Whether a URI names a path of this machine."""
    return "://" not in uri or uri.startswith("file://")


def filesystem_and_path(uri: str) -> tuple["FileSystem", str]:
    """The file system that a URI names, and the path on it.

    Raises:
        ValueError: the scheme is not supported.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem, LocalFileSystem

    if "://" not in uri:
        return LocalFileSystem(), str(Path(uri).expanduser().resolve())
    try:
        return FileSystem.from_uri(uri)
    except ArrowInvalid as error:
        raise ValueError(f"cannot open {uri}: {error}; use a folder, file://, s3:// or gs://") from error


@dataclass(frozen=True)
class StoredFile:
    """A file under a root: its path there, and when it was last written, in seconds since 1970."""

    path: str
    bytes: int
    modified: float


@dataclass(frozen=True)
class Storage:
    """Files under a root. Paths are relative to the root, with forward slashes, so that the root can move."""

    root: str

    def uri(self, path: str) -> str:
        """The absolute URI of a path under the root."""
        return f"{self.root}/{path}"

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        from pyarrow.fs import FileType

        fs, absolute = filesystem_and_path(self.uri(path))
        return fs.get_file_info(absolute).type == FileType.File

    def size(self, path: str) -> int:
        """Size of a file in bytes."""
        fs, absolute = filesystem_and_path(self.uri(path))
        return fs.get_file_info(absolute).size

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or of a range of it."""
        fs, absolute = filesystem_and_path(self.uri(path))
        with fs.open_input_file(absolute) as file:
            return file.read_at(length if length is not None else file.size() - offset, offset)

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file; readers see all of it or nothing."""
        with self.writer(path) as file:
            file.write(data)

    @contextmanager
    def writer(self, path: str) -> Generator[IO[bytes], None, None]:
        """A file to write to. It appears under its name when the block ends well, and not at all otherwise."""
        fs, absolute = filesystem_and_path(self.uri(path))
        if is_local(self.root):
            Path(absolute).parent.mkdir(parents=True, exist_ok=True)
            temporary = f"{absolute}.{uuid.uuid4().hex}{PARTIAL}"
            try:
                with open(temporary, "wb") as file:
                    yield file
                os.replace(temporary, absolute)
            finally:
                Path(temporary).unlink(missing_ok=True)
            return
        # Object stores show an object when its upload is completed; gathering it first means that a failed block
        # uploads nothing.
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            with fs.open_output_stream(absolute) as remote:
                shutil.copyfileobj(spool, remote, 1 << 20)

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        fs, absolute = filesystem_and_path(self.uri(path))
        if self.exists(path):
            fs.delete_file(absolute)

    def files(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted, partly written ones left out; empty when there is no such
        folder."""
        from pyarrow.fs import FileSelector, FileType

        fs, absolute = filesystem_and_path(self.uri(folder))
        found = fs.get_file_info(FileSelector(absolute, allow_not_found=True))
        names = [info.base_name for info in found if info.type == FileType.File]
        return sorted(name for name in names if not name.endswith(PARTIAL))

    def walk(self, folder: str, recursive: bool = True) -> Iterator["StoredFile"]:
        """All files in a folder, and in the folders below it unless told not to, partly written ones among them; none
        when there is no such folder."""
        from pyarrow.fs import FileSelector, FileType

        fs, absolute = filesystem_and_path(self.uri(folder))
        for info in fs.get_file_info(FileSelector(absolute, recursive=recursive, allow_not_found=True)):
            if info.type == FileType.File:
                path = f"{folder}{info.path.removeprefix(absolute)}".lstrip("/")
                yield StoredFile(path, info.size, (info.mtime_ns or 0) / 1e9)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted; empty when there is no such folder."""
        from pyarrow.fs import FileSelector, FileType

        fs, absolute = filesystem_and_path(self.uri(folder))
        found = fs.get_file_info(FileSelector(absolute, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == FileType.Directory)


@contextmanager
def local_copy(uri: str) -> Generator[str, None, None]:
    """A path of this machine with the content of `uri`: the file itself when it is local, else a temporary copy.

    Raises:
        FileNotFoundError: there is no such file.
    """
    fs, path = filesystem_and_path(uri)
    if is_local(uri):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{uri} is gone: put it back, or add its folder again")
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="curate-", suffix=Path(path).suffix) as copy:
        with fs.open_input_stream(path) as remote:
            shutil.copyfileobj(remote, copy, 1 << 20)
        copy.flush()
        yield copy.name

"""Everything lives under one root, a folder or a bucket; this is the only module that opens its files."""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

from curate_resources.storage import object_stores, web_files
from curate_resources.storage.profiles import store_options
from curate_resources.storage.stored_object import has_control, utf8
from gpu_kernels.errors import NotThere, UserError

DEFAULT_ROOT = "./curate-data"

_LONGEST_KEY, _LONGEST_PATH = 1024, 300
"""Bytes of a key in a bucket, and of the paths that are written below a root."""

LONGEST_NAME = 255
"""Bytes of one name on a disk."""

PARTIAL = ".partial"
"""How the names of files end that are still being written, or never were to their end."""


def root_uri(root: str | None = None) -> str:
    """The root to use: the argument, else `CURATE_ROOT`, else `./curate-data`; local folders become absolute paths.

    Raises:
        UserError: no tables can be written there, whatever is done.
    """
    given = root or os.environ.get("CURATE_ROOT") or DEFAULT_ROOT
    if is_local(given):
        uri = local_path(given)
        why = _one_slash(given) or ("its path has a control character" if has_control(uri) else None)
    else:
        uri = given.rstrip("/")
        room = _LONGEST_KEY - _LONGEST_PATH - len(object_stores.parted(given)[1].encode())
        why = f"its path is {-room} bytes too long for what is written below it" if room < 0 else None
    why = why or (None if utf8(uri) else "its path is not UTF-8")
    if why:
        raise UserError(f"{given!r} cannot be a root: {why}")
    return uri


def _one_slash(uri: str) -> str | None:
    """Why `s3:/bucket` is not taken for the folder that it names."""
    scheme, colon, _ = uri.partition(":/")
    return f"write {scheme}://, with two slashes" if colon and scheme in object_stores.SCHEMES else None


def possible_root(root: str | None = None) -> str | None:
    """As `root_uri`; None where no tables can be written."""
    try:
        return root_uri(root)
    except UserError:
        return None


def is_local(uri: str) -> bool:
    """Whether a URI names a path of this machine."""
    return "://" not in uri or uri.startswith("file://")


def local_path(uri: str) -> str:
    """The path that a local URI names. Of `file://`, percent signs encode characters; `#` and `?` are part of names.

    Raises:
        UserError: it names another machine.
    """
    if uri.startswith("file://"):
        host, slash, path = uri.removeprefix("file://").partition("/")
        if host not in ("", "localhost") or not slash:
            raise UserError(f"{uri} names the machine {host!r}: write file:///folder, with three slashes")
        uri = f"/{unquote(path)}"
    return os.path.realpath(os.path.expanduser(uri))  # both take whatever name there is, and links in a circle


_local_root = cache(local_path)
"""Finding out where links lead takes longer than reading a small file."""


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

    def __post_init__(self) -> None:
        if self.root.startswith("file://"):
            object.__setattr__(self, "root", local_path(self.root))

    def uri(self, path: str) -> str:
        """The absolute URI of a path under the root."""
        return f"{self.root}/{path}"

    def lance_uri(self, path: str) -> str:
        """The same as Lance, LanceDB and DuckDB take it: in a bucket, a URL in which `#`, `?` and `%` are encoded."""
        if is_local(self.root):
            return self.uri(path)
        bucket, key = object_stores.parted(self.uri(path))
        return f"{bucket}/{quote(key)}"

    @property
    def lance_options(self) -> dict[str, str]:
        """How Lance reaches what lies under the root."""
        return {} if is_local(self.root) else store_options(self.root)

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        uri = self.uri(path)
        if is_local(uri):
            return os.path.isfile(local_path(uri))
        try:
            object_stores.stat(uri)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int | None:
        """Size of a file in bytes; None if there is none."""
        uri = self.uri(path)
        try:
            return os.stat(local_path(uri)).st_size if is_local(uri) else object_stores.stat(uri).bytes
        except FileNotFoundError:
            return None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or of a range of it."""
        uri = self.uri(path)
        if is_local(uri):
            with open(os.path.join(_local_root(self.root), path), "rb") as file:
                file.seek(offset)
                return file.read(-1 if length is None else length)
        return object_stores.read_range(
            uri, offset, object_stores.stat(uri).bytes - offset if length is None else length
        )

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file; readers see all of it or nothing."""
        with self.writer(path) as file:
            file.write(data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a whole file unless there is one, as one atomic step; whether it was
        written."""
        uri = self.uri(path)
        if not is_local(uri):
            return object_stores.create(uri, data)
        absolute = local_path(uri)
        Path(absolute).parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(absolute)
        try:
            Path(temporary).write_bytes(data)
            os.link(temporary, absolute)
        except FileExistsError:
            return False
        finally:
            Path(temporary).unlink(missing_ok=True)
        return True

    @contextmanager
    def writer(self, path: str) -> Generator[IO[bytes], None, None]:
        """A file to write to. It appears under its name when the block ends well, and not at all otherwise."""
        uri = self.uri(path)
        if is_local(uri):
            absolute = local_path(uri)
            Path(absolute).parent.mkdir(parents=True, exist_ok=True)
            temporary = _temporary(absolute)
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
            try:
                yield spool
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
                    raise
                raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from error  # it has no name itself
            spool.seek(0)
            object_stores.write(uri, spool)

    def delete(self, path: str) -> None:
        """Remove a file, or a link to one, if it is there."""
        if is_local(self.root):
            # Of a link, the link itself: what it leads to is not ours.
            Path(_local_root(self.root), path).unlink(missing_ok=True)
        else:
            object_stores.delete(self.uri(path))

    def delete_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it, if it is there."""
        if is_local(self.root):
            shutil.rmtree(Path(_local_root(self.root), folder), ignore_errors=True)
        else:
            for file in [*self.walk(folder)]:
                self.delete(file.path)

    def files(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted, partly written ones left out; empty when there is no such
        folder."""
        uri = self.uri(folder)
        if is_local(uri):
            names = [entry.name for entry in _entries(local_path(uri)) if entry.is_file()]
        else:
            names = [found.path.rpartition("/")[2] for found in object_stores.children(uri)[1]]
        return sorted(name for name in names if not name.endswith(PARTIAL))

    def walk(self, folder: str, recursive: bool = True) -> Iterator["StoredFile"]:
        """All files in a folder, and in the folders below it unless told not to, partly written ones among them; none
        when there is no such folder. What is removed meanwhile, and folders that this user cannot read, are left
        out."""
        uri = self.uri(folder)
        if not is_local(uri):
            top = object_stores.parted(uri)[1].strip("/")
            found = object_stores.listed(uri) if recursive else object_stores.children(uri)[1]
            for each in found:
                yield StoredFile(
                    f"{folder}/{each.path.removeprefix(top).lstrip('/')}".lstrip("/"), each.bytes, each.modified
                )
            return
        for entry in _entries(local_path(uri)):
            path = f"{folder}/{entry.name}".lstrip("/")
            if entry.is_file():
                with suppress(FileNotFoundError):
                    about = entry.stat()
                    yield StoredFile(path, about.st_size, about.st_mtime)
            elif recursive and entry.is_dir(follow_symlinks=False):
                with suppress(PermissionError):
                    yield from self.walk(path)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted; empty when there is no such folder."""
        uri = self.uri(folder)
        if is_local(uri):
            return sorted(entry.name for entry in _entries(local_path(uri)) if entry.is_dir())
        return object_stores.children(uri)[0]


def _temporary(path: str) -> str:
    """What a file is called while it is being written; a long name is cut, to leave room for what follows it."""
    folder, _, name = path.rpartition("/")
    end = f".{uuid.uuid4().hex}{PARTIAL}"
    return f"{folder}/{os.fsdecode(os.fsencode(name)[: LONGEST_NAME - len(end)])}{end}"


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


@contextmanager
def file_writer(uri: str) -> Generator[IO[bytes], None, None]:
    """A single file anywhere to write to: on a disk, in a bucket, or at a URL that takes a PUT. As `Storage.writer`.

    Raises:
        UserError: `uri` names a folder, or nothing can be written under such a name.
    """
    bucket = not is_local(uri) and not web_files.is_web(uri)
    if bucket and not object_stores.parted(uri)[1]:
        raise UserError(f"{uri} is a bucket: name a file in it")
    if is_local(uri) and (why := _one_slash(uri)):
        raise UserError(f"cannot write to {uri}: {why}")
    path, question, query = (local_path(uri), "", "") if is_local(uri) else uri.partition("?")
    folder, _, name = path.rpartition("/")
    if uri.endswith(("/", "/.", "/..")) or not name or (is_local(uri) and os.path.isdir(path)):
        raise UserError(f"{uri} is a folder: name a file in it")
    if is_local(uri) and any(os.path.exists(each) and not os.path.isfile(each) for each in (uri, path)):
        raise UserError(f"{uri} is a pipe, socket or device: name a file")
    with Storage(folder).writer(f"{name}{question}{query}") as file:
        yield file


_ROOT_FOLDERS = ("manifests", "tables")
_ROOT_FILES = ("curate.yaml", "sources.yaml")


def existing_root(root: str | None = None) -> Storage:
    """The root of that URI, or of `root_uri`, if there is anything.

    Raises:
        NotThere: nothing was ever added there.
    """
    storage = Storage(root_uri(root))
    if not is_root(storage):
        raise NotThere(
            f"there is no root at {storage.root}: `curate add <folder>` makes one; --root or CURATE_ROOT name another"
        )
    return storage


def is_root(storage: Storage) -> bool:
    """Whether anything was ever added, declared or set there."""
    return any(storage.exists(name) for name in _ROOT_FILES) or any(
        storage.files(name) or storage.folders(name) for name in _ROOT_FOLDERS
    )

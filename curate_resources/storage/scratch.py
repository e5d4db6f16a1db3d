"""Source files of other machines, fetched to a folder of this one: once for all stages and segments that read them.

All processes of a machine share the folder and its budget of bytes, without a process that watches over it. A file's
size is reserved by its length on disk before its bytes come; who reads it holds a shared lock on it, who fetches it an
exclusive one, and a process that dies drops its locks. What nobody holds is removed, the longest unused first, when
room is needed.
"""

import fcntl
import hashlib
import os
import re
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curate_resources.machine.private_folder import private_folder
from curate_resources.storage.content import Content, content_of
from curate_resources.storage.object_stores import read_range
from curate_resources.storage.own_files import MARKER
from curate_resources.storage.profiles import storage_settings
from curate_resources.storage.stored_object import SourceChanged, StoredObject
from curate_resources.storage.web_files import shown
from gpu_kernels.errors import OperatingError

_BLOCK = 8 << 20
_COMPLETE = ".complete"
_COPY = re.compile(r"[0-9a-f]{32}(\.[^.]*)?")
_OWN_FOLDER = "curate-scratch"
"""Within the folder of the settings, which may hold files of others."""
_WAIT_SECONDS = 0.2
_PATIENCE_SECONDS = 3600


class ScratchTooSmall(OperatingError, OSError):
    """A file does not fit in the scratch folder."""


@dataclass(frozen=True)
class Scratch:
    """A folder with a budget of bytes."""

    folder: Path
    budget: int

    @classmethod
    def of_this_machine(cls) -> "Scratch":
        """As the storage settings say.

        Raises:
            PermissionError: the settings name none, and the one for temporary files is not this user's alone.
        """
        settings = storage_settings().scratch
        own = Path(settings.folder).expanduser() / _OWN_FOLDER if settings.folder else None
        folder = own or private_folder("scratch")
        return cls(folder, int(settings.gib * (1 << 30)))

    @contextmanager
    def copy(self, uri: str, about: StoredObject, content: Content | None = None) -> Generator[str, None, None]:
        """The path of a file with the content of an object, which stays as it is until the block ends.

        Args:
            about: what is known of the object.
            content: that it must have, where its version does not tell contents apart.

        Raises:
            NotThere: there is no such object.
            SourceChanged: it is no longer what `about` says, or has another content.
            StorageUnavailable: it cannot be read.
            ScratchTooSmall: it is larger than the budget, or others hold all of that for an hour.
        """
        # Without a version to rely on, a copy is shared by those who want one content, else by nobody.
        version = about.version if about.pinned else content.id if content is not None else uuid.uuid4().hex
        place = shown(uri)
        name = hashlib.sha256(f"{place} {version} {about.bytes}".encode()).hexdigest()[:32]
        path = self.folder / f"{name}{PurePosixPath(place).suffix.lower()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MARKER).touch()  # copies are no sources, even where somebody adds a folder above this one
        with self._held(uri, about, path, None if about.pinned else content):
            os.utime(path)
            yield str(path)

    @contextmanager
    def _held(self, uri: str, about: StoredObject, path: Path, content: Content | None) -> Generator[None, None, None]:
        while True:
            file = self._reserved(uri, about, path)
            try:
                fcntl.flock(file, fcntl.LOCK_SH)  # waits for whoever is fetching it
                if not _is_at(file, path):  # removed meanwhile
                    continue
                if not _complete(path).exists():
                    # Two that find it unfinished go one after the other; the second finds it finished.
                    fcntl.flock(file, fcntl.LOCK_UN)
                    fcntl.flock(file, fcntl.LOCK_EX)
                    if _is_at(file, path) and not _complete(path).exists():
                        _fetch(uri, about, file, path)
                        if content is not None and content_of(str(path)).id != content.id:
                            raise SourceChanged.since_probed(shown(uri))
                        _complete(path).touch()
                    continue
                yield
                return
            finally:
                os.close(file)

    def _reserved(self, uri: str, about: StoredObject, path: Path) -> int:
        """The open file, which is as long as the object, though its bytes may still be missing."""
        if about.bytes > self.budget:
            raise ScratchTooSmall(
                f"{uri} has {about.bytes / (1 << 30):.2f} GiB and the scratch folder {self.folder} may have "
                f"{self.budget / (1 << 30):.2f}: raise scratch.gib in the storage settings"
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with self._admission():
                if path.exists() or self._make_room(about.bytes):
                    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                    if os.fstat(file).st_size != about.bytes:
                        _complete(path).unlink(missing_ok=True)  # somebody removed the copy and left its mark
                        os.truncate(file, about.bytes)
                    return file
            if time.monotonic() > deadline:
                raise ScratchTooSmall(f"no room for {uri} in {self.folder} for an hour: raise scratch.gib")
            time.sleep(_WAIT_SECONDS)

    @contextmanager
    def _admission(self) -> Generator[None, None, None]:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _make_room(self, size: int) -> bool:
        """Remove what nobody holds until `size` more bytes fit; whether they do."""
        names = [path for path in self.folder.iterdir() if path.suffix != _COMPLETE]
        files = [path for path in names if _COPY.fullmatch(path.name)]
        about = {path: path.stat() for path in files}
        used = sum(each.st_size for each in about.values())
        for path in sorted(files, key=lambda path: about[path].st_mtime):
            if used + size <= self.budget:
                break
            if _removed(path):
                used -= about[path].st_size
        return used + size <= self.budget


def _removed(path: Path) -> bool:
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _complete(path).unlink(missing_ok=True)
        path.unlink()
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(file)


def _fetch(uri: str, about: StoredObject, file: int, path: Path) -> None:
    for start in range(0, about.bytes, _BLOCK):
        block = memoryview(read_range(uri, start, min(_BLOCK, about.bytes - start), about.version))
        written = 0
        while written < len(block):  # a disk that is nearly full takes a part, and says so only when it is asked again
            try:
                written += os.pwrite(file, block[written:], start + written)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error


def _complete(path: Path) -> Path:
    return path.with_name(path.name + _COMPLETE)


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one that the path names now."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False

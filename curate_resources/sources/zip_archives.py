"""A ZIP as a source: each file in it that is wanted is unpacked once, to `<root>/unpacked/<id of the ZIP>/<its name>`.

The id is the digest of its files' names, sizes and checksums, which the ZIP's directory has: the same ZIP under
another name or signature is the same, and adding it again reads no more than that directory. A ZIP is a stranger's:
all that its directory claims is checked before the first byte is unpacked, and nothing is believed while unpacking.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from curate_resources.declarations.units import UnitFiles
from curate_resources.sources.leftovers import is_leftover
from curate_resources.sources.listing import EMPTY, LEFTOVER, OTHER, UNNAMEABLE, LeftOut
from curate_resources.storage.own_files import mark
from curate_resources.storage.range_file import range_file
from curate_resources.storage.root import LONGEST_NAME, Storage, is_local, local_path
from curate_resources.storage.stored_object import has_control
from curate_resources.storage.web_files import is_web
from gpu_kernels.errors import UserError

FOLDER = "unpacked"

_BLOCK = 1 << 20
_MOST_MEMBERS = 100_000
_MOST_DIRECTORY = 16 << 20
_MOST_END = 1 << 17
"""What is read first is the end of the file, with a comment of up to 64 KiB."""
_MOST_RATIO = 200
"""Media hardly shrink in a ZIP; what expands more than this many times is made to fill a disk."""
_FREE_BYTES = 1 << 20
"""How many may come out of anything."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The others take as much memory as the archive says."""
_ENCRYPTED = 0x1
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, UnicodeError, NotImplementedError, OverflowError)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class ZipRefused(UserError):
    """A ZIP that is damaged or hostile; nothing of it was added."""


@dataclass(frozen=True)
class ZippedFile:
    """A file of a ZIP: its path below the root, its size, and its checksum as the ZIP has it."""

    path: str
    bytes: int
    crc: int


@dataclass(frozen=True)
class Unpacked:
    """What a ZIP holds: its files by name, and what else."""

    members: tuple[ZippedFile, ...]
    left_out: tuple[LeftOut, ...]


def is_zip(source: str) -> bool:
    """Whether a source names a ZIP, by its suffix; what follows a URL's `?` does not count."""
    path = re.split("[?#]", source)[0] if is_web(source) else source
    return path.lower().endswith(".zip") and not (is_local(source) and Path(local_path(source)).is_dir())


def unpack(storage: Storage, source: str, files: UnitFiles) -> Unpacked:
    """Unpack the files of a ZIP that are units, or of units, except those that are there already.

    Raises:
        ZipRefused: it is not a ZIP, or a member is encrypted, leads out of it, is there twice, or expands too much.
        FileNotFoundError, StorageUnavailable: it cannot be read.
    """
    shown = source.partition("?")[0] if is_web(source) else source
    with range_file(source) as file, _refusing(shown), zipfile.ZipFile(_Bounded(file)) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        left_out = {member.filename: why for member in members if (why := _why_left_out(member, files)) is not None}
        wanted = _wanted(members, left_out)
        _check_extents(members, archive.start_dir)
        folder = f"{FOLDER}/{_identity(wanted)}"
        paths = {f"{folder}/{name}": member for name, member in sorted(wanted.items())}
        wanting = {path: member for path, member in paths.items() if storage.size(path) != member.file_size}
        _check_room(storage, sum(member.file_size for member in wanting.values()))
        for path, member in wanting.items():
            with archive.open(member) as content, storage.writer(path) as target:
                shutil.copyfileobj(content, target, _BLOCK)
            mark(storage)
    found = tuple(ZippedFile(path, member.file_size, member.CRC) for path, member in paths.items())
    return Unpacked(found, tuple(LeftOut(f"{shown}/{name}", why) for name, why in left_out.items()))


def _why_left_out(member: zipfile.ZipInfo, files: UnitFiles) -> str | None:
    if is_leftover(member.filename):
        return LEFTOVER
    if not files.takes(member.filename):
        return OTHER
    if has_control(member.filename) or any(
        len(os.fsencode(name)) > LONGEST_NAME for name in member.filename.split("/")
    ):
        return UNNAMEABLE
    return EMPTY if not member.file_size else None


def _wanted(members: Sequence[zipfile.ZipInfo], left_out: Mapping[str, str]) -> dict[str, zipfile.ZipInfo]:
    """The wanted files by their names, each of which leads to a place of its own below a folder."""
    if len(members) > _MOST_MEMBERS:
        raise ZipRefused(f"it has more than {_MOST_MEMBERS} members")
    wanted: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        if member.filename in left_out:
            continue
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or _DRIVE.match(member.filename):
            raise ZipRefused(f"member {member.filename!r} leads out of it")
        if str(path) in wanted:
            raise ZipRefused(f"member {member.filename!r} is there twice")
        if member.flag_bits & _ENCRYPTED:
            raise ZipRefused(f"member {member.filename!r} is encrypted")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ZipRefused(f"member {member.filename!r} is a link")
        if member.compress_type not in _METHODS:
            raise ZipRefused(f"member {member.filename!r} is neither stored nor deflated")
        if member.file_size > max(_FREE_BYTES, _MOST_RATIO * member.compress_size):
            raise ZipRefused(f"member {member.filename!r} claims to expand more than {_MOST_RATIO} times")
        wanted[str(path)] = member
    for name in wanted:
        if any(str(parent) in wanted for parent in PurePosixPath(name).parents):
            raise ZipRefused(f"member {name!r} lies in a member that is a file")
    return wanted


def _check_extents(members: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Members that share their bytes make a small file as large as one likes."""
    for member in sorted(members, key=lambda member: member.header_offset, reverse=True):
        if member.header_offset + member.compress_size > end:
            raise ZipRefused(f"member {member.filename!r} overlaps another")
        end = member.header_offset


def _check_room(storage: Storage, needed: int) -> None:
    if not is_local(storage.root):
        return
    root = Path(local_path(storage.root))
    free = shutil.disk_usage(next(each for each in (root, *root.parents) if each.exists())).free
    if needed > free:
        raise ZipRefused(f"its files take {needed / 1e9:.1f} GB, and the disk of {root} has {free / 1e9:.1f}")


def _identity(wanted: Mapping[str, zipfile.ZipInfo]) -> str:
    listed = [[name, member.file_size, member.CRC] for name, member in sorted(wanted.items())]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:32]


@contextmanager
def _refusing(shown: str) -> Generator[None, None, None]:
    """What is wrong with a ZIP, in whatever way it shows, as one error that names it."""
    try:
        yield
    except (ZipRefused, *_DAMAGE) as error:
        raise ZipRefused(f"{shown}: {error}; nothing of it was added: repair the ZIP, or add its files") from error


class _Bounded:
    """A file whose reads are small: the directory of a ZIP is read at once, however long it says that it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1, /) -> bytes:
        if size > _MOST_DIRECTORY:
            raise ZipRefused(f"its directory is longer than {_MOST_DIRECTORY >> 20} MiB")
        return self._file.read(size if size >= 0 else _MOST_END)

"""Folders and files of a disk or a bucket, in one order that a later listing can go on from."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache

from curate_resources.sources.leftovers import is_leftover, is_leftover_folder
from curate_resources.storage import object_stores
from curate_resources.storage.content import on_disk
from curate_resources.storage.own_files import marks_root, root_of
from curate_resources.storage.root import is_local, local_path
from curate_resources.storage.stored_object import StorageRefuses, StoredObject, utf8
from curate_resources.storage.web_files import is_web
from gpu_kernels.errors import NotThere

_WILD = "*?"
_log = logging.getLogger("curate.listing")


def folders(uri: str) -> list[str]:
    """The folders that a URI stands for, sorted: one, or all whose buckets and names match its patterns.

    Raises:
        StorageUnavailable, FileNotFoundError: what has to be listed for that cannot be.
    """
    scheme, _, rest = ("", "", local_path(uri)) if is_local(uri) else uri.partition("://")
    first, *names = rest.split("/")
    if scheme:
        wild = any(character in first for character in _WILD)
        buckets = [name for name in object_stores.buckets(uri) if _like(name, first)] if wild else [first]
        found = [f"{scheme}://{bucket}" for bucket in buckets]
    else:
        found = [""]
    for name in filter(None, names):
        if any(character in name for character in _WILD):
            found = [f"{above}/{below}" for above in found for below in _children(above or "/") if _like(below, name)]
        else:
            found = [f"{above}/{name}" for above in found]
    return sorted(found)


def _like(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern of `*` and `?`; other characters stand for themselves."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _children(folder: str) -> list[str]:
    if not is_local(folder):
        return object_stores.children(folder)[0]
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if os.path.isdir(entry.path))


@dataclass(frozen=True)
class LeftOut:
    """What is in a folder and no source; `reason` is what such things are called."""

    path: str
    reason: str


LEFTOVER, LEFTOVER_FOLDER = "leftovers of other programs", "folders of other programs"
ROOT = "folders of Curate Graph"
BROKEN_LINK, SPECIAL = "links that lead nowhere", "pipes, sockets and devices"
KNOWN_LINK = "links to folders that are listed anyway or lie behind another link"
UNNAMEABLE = "names that manifests cannot hold"
UNREADABLE = "folders that cannot be read"
EMPTY = "empty files"
OTHER = "files of other kinds"


def listed_in(folder: str, after: str = "") -> Iterator[StoredObject | LeftOut]:
    """What is below a folder and comes after the path `after`, in order. Paths are those in the bucket, or of the disk.

    On a disk, links to files are followed, and links to folders that lie elsewhere; not those to folders that contain
    the link or are listed anyway, and not links that are met behind a link: so nothing goes round in circles, wherever
    a listing goes on. Roots of Curate Graph, and other programs' own folders, are named and not entered.

    Raises:
        NotThere: there is no such folder of the disk; a bucket has no empty folders to be missed.
    """
    if not is_local(folder):
        yield from _in_bucket(folder, after)
        return
    yield from _walked(folder, after.split("/") if after else [], os.path.realpath(folder))


def _in_bucket(folder: str, after: str) -> Iterator[StoredObject | LeftOut]:
    start, root = after or None, ""
    while True:
        unnamed: list[str] = []
        for found in object_stores.listed(folder, start, unnamed.append):
            yield from _unnamed(folder, unnamed)
            if root and found.path.startswith(f"{root}/"):
                continue
            if (new := root_of(found.path)) is not None:
                yield LeftOut(new, ROOT)
                if not new:
                    return
                root, start = new, f"{new}/~"  # behind all that is written there, which may be millions of objects
                break
            if is_leftover(below(folder, found.path)):
                yield LeftOut(found.path, LEFTOVER)
            else:
                yield found
        else:
            yield from _unnamed(folder, unnamed)
            return


def _unnamed(folder: str, keys: list[str]) -> Iterator[LeftOut]:
    for key in keys:
        usable(uri_of(folder, key), key)
        yield LeftOut(key, UNNAMEABLE)
    keys.clear()


def usable(uri: str, key: str) -> bool:
    """Whether anything can be done with a key of a bucket; else it is reported."""
    if why := object_stores.unnameable(key):
        _tell(uri, why)
    return why is None


def _walked(folder: str, after: list[str], top: str, linked: bool = False) -> Iterator[StoredObject | LeftOut]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    if marks_root(folder, frozenset(entry.name for entry in found)):
        yield LeftOut(folder, ROOT)
        return
    for entry in found:
        parts = entry.path.split("/")
        if not utf8(entry.path):
            _tell(entry.path, "its name is not UTF-8")
            yield LeftOut(entry.path, UNNAMEABLE)
        elif entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path)):
            if is_leftover_folder(entry.name):
                yield LeftOut(entry.path, LEFTOVER_FOLDER)
            elif entry.is_symlink() and (linked or _overlap(os.path.realpath(entry.path), top)):
                yield LeftOut(entry.path, KNOWN_LINK)
            elif parts >= after[: len(parts)]:
                try:
                    yield from _walked(entry.path, after, top, linked or entry.is_symlink())
                except PermissionError:
                    yield LeftOut(entry.path, UNREADABLE)
        elif parts > after:
            yield _judged(entry)


def _judged(entry: os.DirEntry[str]) -> StoredObject | LeftOut:
    if is_leftover(entry.name):
        return LeftOut(entry.path, LEFTOVER)
    with suppress(OSError):  # a link may lead nowhere, or to itself; others are gone by now
        if entry.is_file():
            return on_disk(entry.path)
        if os.path.exists(entry.path):
            return LeftOut(entry.path, SPECIAL)
    return LeftOut(entry.path, BROKEN_LINK)


def _overlap(one: str, other: str) -> bool:
    """Whether one of two folders contains the other, or they are the same."""
    return os.path.commonpath((one, other)) in (one, other)


@lru_cache(maxsize=10_000)
def _tell(path: str, why: str) -> None:
    """Once for each path: a source that is watched is listed again and again."""
    _log.warning("%s is left out: %s; rename it and add it again", ascii(path), why)


def comes_after(folder: str, path: str, after: str) -> bool:
    """Whether a path is listed later than another one."""
    return path.split("/") > after.split("/") if is_local(folder) else path > after


def stat_in(folder: str, path: str) -> StoredObject:
    """What is known of a file now.

    Raises:
        FileNotFoundError: it is gone.
    """
    return on_disk(path) if is_local(folder) else object_stores.stat(uri_of(folder, path))


def folder_of(uri: str, file: str) -> str | None:
    """The folder that a file of a bucket is listed in, of those that a URI with patterns stands for; None: it is in
    none of them."""
    pattern, parts = uri.split("/"), file.split("/")
    inside = len(parts) > len(pattern) and all(map(_like, parts, pattern))
    return "/".join(parts[: len(pattern)]) if inside else None


def found_at(source: str, takes: Callable[[str], bool]) -> Iterator[StoredObject | LeftOut]:
    """What is at a source, which is one file or a folder. Paths are URIs.

    Args:
        takes: whether a path could be of a file that is wanted.

    Raises:
        NotThere: there is nothing.
        StorageUnavailable: it cannot be looked at.
    """
    if not source:
        raise NotThere("the name of the source is empty: give a folder, a file, or a URI such as s3://bucket/prefix")
    if is_web(source):
        yield replace(object_stores.stat(source), path=source)
    elif is_local(source):
        path = local_path(source)
        if os.path.isdir(path):
            yield from listed_in(path)
        elif os.path.isfile(path):
            yield on_disk(path)
        elif os.path.exists(path):
            yield LeftOut(path, SPECIAL)
        else:
            raise _nothing_at(source)
    else:
        yield from _found_in_bucket(source, takes)


def _found_in_bucket(source: str, takes: Callable[[str], bool]) -> Iterator[StoredObject | LeftOut]:
    """A folder, an object, or both: in a bucket `a.mp4` and `a.mp4/b.mp4` may lie side by side."""
    folder, empty = source.rstrip("/"), True
    for found in listed_in(folder):
        empty = False
        yield replace(found, path=uri_of(folder, found.path))
    if not object_stores.parted(folder)[1] or not (empty or takes(folder)):
        return
    try:
        yield replace(object_stores.stat(folder), path=folder)
    except FileNotFoundError as error:
        if empty:
            raise _nothing_at(source) from error
    except StorageRefuses:  # who may list need not be allowed to look at an object
        if empty:
            raise


def _nothing_at(source: str) -> NotThere:
    return NotThere(f"{source} does not exist: give a folder, a file, or a URI such as s3://bucket/prefix")


def uri_of(folder: str, path: str) -> str:
    """The URI of a file that was listed in a folder."""
    return path if is_local(folder) else f"{'/'.join(folder.split('/', 3)[:3])}/{path}"


def below(folder: str, path: str) -> str:
    """The path of a file below the folder that it was listed in."""
    return uri_of(folder, path).removeprefix(folder).lstrip("/")

"""Folders and files of a disk or a bucket, in one order that a later listing can go on from."""

import logging
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase

from curate_resources import object_stores
from curate_resources.content import on_disk
from curate_resources.storage import is_local, local_path
from curate_resources.stored_object import StoredObject

_WILD = "*?["
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
        buckets = [name for name in object_stores.buckets(uri) if fnmatchcase(name, first)] if wild else [first]
        found = [f"{scheme}://{bucket}" for bucket in buckets]
    else:
        found = [""]
    for name in filter(None, names):
        if any(character in name for character in _WILD):
            found = [
                f"{above}/{below}" for above in found for below in _children(above or "/") if fnmatchcase(below, name)
            ]
        else:
            found = [f"{above}/{name}" for above in found]
    return sorted(found)


def _children(folder: str) -> list[str]:
    if not is_local(folder):
        return object_stores.children(folder)[0]
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if os.path.isdir(entry.path))


def listed_in(folder: str, after: str = "") -> Iterator[StoredObject]:
    """The files below a folder whose path comes after `after`, in order. Paths are those in the bucket, or of the disk.

    Raises:
        FileNotFoundError: there is no such folder of the disk; a bucket has no empty folders to be missed.
    """
    if not is_local(folder):
        yield from object_stores.listed(folder, after or None)
        return
    yield from _walked(folder, after.split("/") if after else [])


def _walked(folder: str, after: list[str]) -> Iterator[StoredObject]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if not nameable(entry.path):
            continue
        parts = entry.path.split("/")
        if entry.is_dir(follow_symlinks=False):
            if parts >= after[: len(parts)]:
                yield from _walked(entry.path, after)
        elif parts > after and os.path.isfile(entry.path):  # a link may lead nowhere, or to itself
            yield on_disk(entry.path)


def nameable(path: str) -> bool:
    """Whether manifests and tables can hold a path. One of no UTF-8 they cannot; it is told of, so that all others can
    go on."""
    try:
        path.encode()
    except UnicodeEncodeError:
        _log.warning("%s is left out: its name is not UTF-8; rename it and add it again", ascii(path))
        return False
    return True


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
    inside = len(parts) > len(pattern) and all(map(fnmatchcase, parts, pattern))
    return "/".join(parts[: len(pattern)]) if inside else None


def uri_of(folder: str, path: str) -> str:
    """The URI of a file that was listed in a folder."""
    return path if is_local(folder) else f"{'/'.join(folder.split('/', 3)[:3])}/{path}"


def below(folder: str, path: str) -> str:
    """The path of a file below the folder that it was listed in."""
    return uri_of(folder, path).removeprefix(folder).lstrip("/")

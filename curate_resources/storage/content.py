"""What a file held when it was hashed, and whether it still does.

A whole hash takes as long as reading the file, so it is taken once, and what changes with the content is noted beside
it: a file's times of change on a disk, an object's ETag. Only where these differ is the file hashed again.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from functools import lru_cache

from curate_resources.storage.stored_object import SourceChanged, StoredObject

_BLOCK = 1 << 20
_ATTEMPTS = 3
_TICK_SECONDS, _COARSE_TICK_SECONDS = 0.02, 2.0
"""Two changes within one tick of a file system's clock may have the same time; some count whole seconds, or two."""


@dataclass(frozen=True)
class Content:
    """A content of a file.

    Attributes:
        id: the first 128 bits of its SHA-256, as hexadecimal digits.
        bytes: its size.
        version: what changes with the content, as of StoredObject; empty where the server gives nothing to rely on.
    """

    id: str
    bytes: int
    version: str


def on_disk(path: str) -> StoredObject:
    """What is known of a local file without reading it. Its time of change is part of the version: programs may set
    the time of modification as they like.

    Raises:
        FileNotFoundError: it is not there.
    """
    about = os.stat(path)
    return StoredObject(path, about.st_size, about.st_mtime, f"{about.st_mtime_ns} {about.st_ctime_ns}")


def settled(path: str) -> StoredObject:
    """`on_disk`, once a further change cannot have the same times."""
    about = os.stat(path)
    coarse = about.st_ctime_ns % 1_000_000_000 == 0
    tick = _COARSE_TICK_SECONDS if coarse else _TICK_SECONDS
    age = time.time() - about.st_ctime
    if abs(age) < tick:  # a server's clock may be ahead of ours
        time.sleep(tick - max(age, 0.0))
    return on_disk(path)


def content_of(path: str) -> Content:
    """What a local file holds. Within a process it is hashed again only when it changed.

    Raises:
        FileNotFoundError: it is not there.
        SourceChanged: it is being written to.
    """
    for _ in range(_ATTEMPTS):
        about = settled(path)
        content = Content(_id(path, about.version), about.bytes, about.version)
        if on_disk(path) == about:
            return content
    raise SourceChanged(f"{path} is being written to: wait until it is finished, `curate add` it again and materialize")


@lru_cache(maxsize=1024)
def _id(path: str, version: str) -> str:
    """`version` only tells contents apart."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:32]

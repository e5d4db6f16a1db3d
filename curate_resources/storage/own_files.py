"""What Curate Graph writes below a root, this one or any other, is never a source.

A root is marked by a file when its first shard is made, a scratch folder when something is fetched to it. Older roots
are known by their history.
"""

import os
from functools import lru_cache
from time import monotonic

from curate_resources.storage import object_stores, web_files
from curate_resources.storage.root import Storage, is_local, local_path
from gpu_kernels.errors import UserError

MARKER = ".curate-root"
"""Its name comes before those of all that is written below a root, so that listings of buckets meet it first."""

_TEXT = b"This folder is a root of Curate Graph. What is written here is never taken for a source.\n"
_HISTORY = "history/materializations.lance"
_WRITTEN = frozenset(
    "dagster datasets history jobs logs manifests media presets reports sources tables unpacked".split()
)
_CACHED_SECONDS = 600


def mark(storage: Storage) -> None:
    """Mark a root, if it is not."""
    if not storage.exists(MARKER):
        storage.create(MARKER, _TEXT)


def marks_root(folder: str, names: frozenset[str]) -> bool:
    """Whether a folder of this machine with files and folders of these names is a root."""
    return MARKER in names or ("history" in names and os.path.isdir(f"{folder}/{_HISTORY}"))


def root_of(path: str) -> str | None:
    """The root that a path in a bucket is the mark of."""
    if path == MARKER or path.endswith(f"/{MARKER}"):
        return path.removesuffix(MARKER).rstrip("/")
    before, found, _ = f"/{path}".partition(f"/{_HISTORY}/")
    return before.lstrip("/") if found else None


def check_source(source: str, own_root: str) -> None:
    """Refuse a source that is a root, or what is written below one. A folder of one's own below a root is none.

    Raises:
        UserError: it is, or nothing can have such a name.
    """
    if web_files.is_web(source):
        return
    if not is_local(source):
        object_stores.parted(source)  # for its errors
    source, own_root = (local_path(uri) if is_local(uri) else uri.rstrip("/") for uri in (source, own_root))
    start = 1 if is_local(source) else 3  # of a bucket's URI, s3: and nothing and the bucket
    parts = source.split("/")
    for end in range(len(parts), start - 1, -1):
        folder, inside = "/".join(parts[:end]) or "/", parts[end : end + 1]
        if (not inside or inside[0] in _WRITTEN) and (folder == own_root or _is_there(folder)):
            what = "a root" if not inside else f"what was written below the root {folder}"
            raise UserError(
                f"{source} is {what} of Curate Graph, and never a source: name the folder with your own files, or "
                "move them out of there"
            )


def below_root(uri: str, folder: str) -> bool:
    """Whether there is a root between a folder of a bucket and an object below it."""
    parts = uri.removeprefix(f"{folder}/").split("/")
    return any(_is_there("/".join((folder, *parts[:end]))) for end in range(len(parts)))


def _is_there(folder: str) -> bool:
    if is_local(folder):
        return os.path.isdir(folder) and (os.path.exists(f"{folder}/{MARKER}") or os.path.isdir(f"{folder}/{_HISTORY}"))
    return _is_in_bucket(folder, int(monotonic() // _CACHED_SECONDS))


@lru_cache(maxsize=4096)
def _is_in_bucket(folder: str, _: int) -> bool:
    """A source that is watched is checked in every look; it does not become a root often."""
    storage = Storage(folder)
    return storage.exists(MARKER) or next(object_stores.listed(storage.uri(_HISTORY)), None) is not None

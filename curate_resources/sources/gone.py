"""Source files that are in shards and no longer there."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from curate_resources.sources.manifests import ManifestError, Manifests
from curate_resources.storage import object_stores
from curate_resources.storage.root import is_local, local_path
from curate_resources.storage.web_files import shown

_MOST_SHARDS, _MOST_LOCAL, _MOST_REMOTE = 2000, 100_000, 300
_AT_ONCE = 32
_SHOWN = 5


@dataclass(frozen=True)
class Gone:
    """How many files are gone, and some of them. `complete`: all files were looked at; of many in buckets, and of those
    whose store does not answer, only `curate add` and the audit know."""

    files: int
    first: tuple[str, ...]
    complete: bool

    def __str__(self) -> str:
        more = ", ..." if self.files > len(self.first) else ""
        least = "" if self.complete else "at least "
        return (
            f"{least}{self.files} source files are gone: {', '.join(self.first)}{more}. Their rows stay, and fail "
            "where the file has to be read again. Put them back, or `curate add` their folder with --forget-gone"
        )


def gone_sources(manifests: Manifests, shards: Sequence[str]) -> Gone:
    """Look whether the files of some shards are there: one stat each on a disk, one request in buckets, up to some
    number of them."""
    local: list[str] = []
    remote: list[str] = []
    for manifest in manifests.load_all(islice(shards, _MOST_SHARDS)):
        if not isinstance(manifest, ManifestError):
            for entry in manifest.entries:
                for uri in [file.uri for file in entry.files] or [entry.uri]:
                    (local if is_local(uri) else remote).append(uri)
    gone = [uri for uri in local[:_MOST_LOCAL] if not os.path.isfile(local_path(uri))]
    complete = len(shards) <= _MOST_SHARDS and len(local) <= _MOST_LOCAL and len(remote) <= _MOST_REMOTE
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        looked = remote[:_MOST_REMOTE]
        for uri, there in zip(looked, pool.map(_there, looked), strict=True):
            complete = complete and there is not None
            if there is False:
                gone.append(shown(uri))
    return Gone(len(gone), tuple(gone[:_SHOWN]), complete)


def _there(uri: str) -> bool | None:
    """None: nobody knows."""
    try:
        object_stores.stat(uri)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return True

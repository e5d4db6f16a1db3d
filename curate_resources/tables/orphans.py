"""Files under the root that nothing needs: what killed runs were writing, and what later settings replaced.

A file counts only where it is known whose it is. Everything else under the root, such as the media of assets that
others brought, is left alone.
"""

import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

import pyarrow as pa

from curate_resources.declarations.table import Table
from curate_resources.storage.root import PARTIAL, Storage, StoredFile
from curate_resources.tables.history import HISTORY, History
from curate_resources.tables.lance_tables import Tables

MEDIA = "media"

_OF_OTHERS = ("tables", HISTORY, "dagster")
"""Folders whose files Lance and Dagster see to."""

_PART = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(PARTIAL)}$")
"""How `Storage.writer` names a file that is not complete yet."""


@dataclass(frozen=True)
class Orphan:
    """A file that nothing needs: no row points at it, or nothing reads it any more."""

    path: str
    bytes: int


def orphans(
    storage: Storage, tables: Mapping[str, Table], older_than_seconds: float, unneeded: Iterable[StoredFile] = ()
) -> Iterator[Orphan]:
    """Files in the media folders of these tables that no row points at, partly written ones of ours anywhere, and
    others that are known to be of no use.

    A path that any table under the root names is in use, whoever brought the table. Younger files are left out: a run
    that is under way commits its rows after it has written their files.
    """
    owned = tuple(f"{table.media}/" for table in tables.values() if table.media is not None)
    pointed_at = _pointed_at(storage, owned)
    latest = time.time() - older_than_seconds
    folders = [folder for folder in storage.folders("") if folder not in _OF_OTHERS]
    walked = chain(storage.walk("", recursive=False), *map(storage.walk, folders))
    lost = (
        found
        for found in walked
        if (found.path.startswith(owned) and found.path not in pointed_at) or _PART.search(found.path) is not None
    )
    for found in chain(unneeded, lost):
        if found.modified <= latest:
            yield Orphan(found.path, found.bytes)


def _pointed_at(storage: Storage, folders: tuple[str, ...]) -> set[str]:
    """The paths in some folders that are named by a column `path` of any table under the root."""
    store, found = Tables(storage), set[str]()
    for name in store.names():
        dataset = store.dataset(name)
        if "path" not in dataset.schema.names or not _is_text(dataset.schema.field("path").type):
            continue
        for batch in dataset.to_batches(columns=["path"]):
            # Others may write whole URIs.
            paths = [path.removeprefix(f"{storage.root}/") for path in batch["path"].unique().to_pylist() if path]
            found.update(path for path in paths if path.startswith(folders))
    return found


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def forget_versions(storage: Storage, older_than_seconds: float, names: Collection[str] | None = None) -> int:
    """Drop old versions of tables and of the history, and what was written for versions that never came; returns
    bytes freed. Versions that somebody has tagged stay.

    With an age of 0, files of commits that are under way would go, too: nothing may run then.

    Args:
        names: of these tables only; None: of all under the root.
    """
    store = Tables(storage)
    age = timedelta(seconds=older_than_seconds)
    freed = 0
    for name in store.names():
        if names is None or name in names:
            freed += (
                store.dataset(name)
                .cleanup_old_versions(
                    older_than=age, delete_unverified=not older_than_seconds, error_if_tagged_old_versions=False
                )
                .bytes_removed
            )
    return freed + History(storage).compact(age, delete_unverified=not older_than_seconds)

"""Files under the root that nothing points at: what killed runs were writing, and what later settings replaced."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

from curate_resources.history import HISTORY, History
from curate_resources.stage import Table
from curate_resources.storage import PARTIAL, Storage
from curate_resources.tables import Tables

MEDIA = "media"

_OF_OTHERS = ("tables", HISTORY, "dagster")
"""Folders whose files Lance and Dagster see to."""


@dataclass(frozen=True)
class Orphan:
    """A file that no row points at."""

    path: str
    bytes: int


def orphans(storage: Storage, tables: Mapping[str, Table], older_than_seconds: float) -> Iterator[Orphan]:
    """Files below `media/` that no row of any table points at, and partly written ones everywhere else.

    Younger files are left out: a run that is under way commits its rows after it has written their files.
    """
    store = Tables(storage)
    pointed_at = {
        path
        for table in tables.values()
        if "path" in table.columns.names
        for path in store.read(table, columns=["path"])["path"].to_pylist()
    }
    latest = time.time() - older_than_seconds
    folders = [folder for folder in storage.folders("") if folder not in _OF_OTHERS]
    for found in chain(storage.walk("", recursive=False), *map(storage.walk, folders)):
        in_media = found.path.startswith(f"{MEDIA}/")
        orphan = found.path not in pointed_at if in_media else found.path.endswith(PARTIAL)
        if orphan and found.modified <= latest:
            yield Orphan(found.path, found.bytes)


def forget_versions(storage: Storage, older_than_seconds: float) -> int:
    """Drop old versions of all tables and of the history, and what was written for versions that never came; returns
    bytes freed.

    With an age of 0, files of commits that are under way would go, too: nothing may run then.
    """
    store = Tables(storage)
    age = timedelta(seconds=older_than_seconds)
    freed = History(storage).compact(age, delete_unverified=not older_than_seconds)
    for name in store.names():
        dataset = store.dataset(name)
        freed += dataset.cleanup_old_versions(older_than=age, delete_unverified=not older_than_seconds).bytes_removed
    return freed

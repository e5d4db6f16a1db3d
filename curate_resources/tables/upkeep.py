"""What tables need from time to time: the columns that the code has now, few large fragments instead of many small
ones, indexes where they are large, and no old versions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curate_resources.declarations.table import Table
from curate_resources.storage.root import Storage, StoredFile
from curate_resources.tables.indexes import indexed_anew
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.orphans import forget_versions, orphans


@dataclass(frozen=True)
class Tended:
    """What was done to tables.

    Attributes:
        compacted: tables whose fragments were joined.
        indexed: tables that got an index, or of which an index got what was new.
        busy: tables that were being written meanwhile; they are left to the next time.
    """

    compacted: tuple[str, ...]
    indexed: tuple[str, ...]
    busy: tuple[str, ...]


@dataclass(frozen=True)
class Upkeep(Tended):
    """What was done.

    Attributes:
        files, bytes: files without rows that were removed, and all bytes that were freed.
    """

    files: int
    bytes: int


def keep_up(
    storage: Storage, tables: Mapping[str, Table], older_than_seconds: float, unneeded: Iterable[StoredFile] = ()
) -> Upkeep:
    """Compact and index these tables; remove their versions, and files of theirs that nothing points at, that are older
    than this, and others that are known to be of no use. Tables that others brought are left to them."""
    names = _stored(storage, tables)
    found = list(orphans(storage, tables, older_than_seconds, unneeded))
    for orphan in found:
        storage.delete(orphan.path)
    # Before the rest, which needs room. What that replaces is too young to go.
    freed = sum(orphan.bytes for orphan in found) + forget_versions(storage, older_than_seconds, names)
    return Upkeep(**vars(tended(storage, tables)), files=len(found), bytes=freed)


def tended(storage: Storage, tables: Mapping[str, Table]) -> Tended:
    """Compact and index these tables."""
    store = Tables(storage)
    compacted: list[str] = []
    indexed: list[str] = []
    busy: list[str] = []
    for name in _stored(storage, tables):
        try:
            store.evolve(tables[name])
            if store.dataset(name).optimize.compact_files().fragments_removed:
                compacted.append(name)
            if indexed_anew(store, tables[name]):
                indexed.append(name)
        except OSError as error:
            if "conflict" not in str(error).lower():
                raise
            busy.append(name)
    return Tended(tuple(compacted), tuple(indexed), tuple(busy))


def _stored(storage: Storage, tables: Mapping[str, Table]) -> list[str]:
    return [name for name in Tables(storage).names() if name in tables]

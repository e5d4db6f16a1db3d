"""What tables need from time to time: few large fragments instead of many small ones, and no old versions."""

from collections.abc import Mapping
from dataclasses import dataclass

from curate_resources.orphans import forget_versions, orphans
from curate_resources.stage import Table
from curate_resources.storage import Storage
from curate_resources.tables import Tables


@dataclass(frozen=True)
class Upkeep:
    """What was done.

    Attributes:
        compacted: tables whose fragments were joined.
        busy: tables that were being written meanwhile; they are left to the next time.
        files, bytes: files without rows that were removed, and all bytes that were freed.
    """

    compacted: tuple[str, ...]
    busy: tuple[str, ...]
    files: int
    bytes: int


def keep_up(storage: Storage, tables: Mapping[str, Table], older_than_seconds: float) -> Upkeep:
    """Compact all tables, and remove versions and files that nothing points at and that are older than this."""
    store = Tables(storage)
    compacted: list[str] = []
    busy: list[str] = []
    for name in store.names():
        try:
            if store.dataset(name).optimize.compact_files().fragments_removed:
                compacted.append(name)
        except OSError as error:
            if "conflict" not in str(error).lower():
                raise
            busy.append(name)
    found = list(orphans(storage, tables, older_than_seconds))
    for orphan in found:
        storage.delete(orphan.path)
    freed = sum(orphan.bytes for orphan in found) + forget_versions(storage, older_than_seconds)
    return Upkeep(tuple(compacted), tuple(busy), len(found), freed)

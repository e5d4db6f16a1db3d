"""Comparing all that a source has with all that its shards hold: files that came late, changed, or are gone.

Looks go through a source in the order of its paths, so a file that appears behind them is seen only here. Both sides
are put into a database on disk: memory stays flat, however many files there are.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import TypeAdapter

from curate_resources.sources.discovery import Discovery
from curate_resources.sources.listing import UNREADABLE, LeftOut, comes_after, folders, listed_in, uri_of
from curate_resources.sources.manifests import Entry, ManifestError, Manifests, Member, bounded, entry_of
from curate_resources.sources.unit_listing import units
from curate_resources.storage.own_files import check_source
from curate_resources.storage.stored_object import StorageRefuses

if TYPE_CHECKING:
    import duckdb

_THERE = pa.schema(
    [
        ("uri", pa.string()),
        ("bytes", pa.int64()),
        ("version", pa.string()),
        ("files", pa.string()),
        ("wanted", pa.bool_()),
    ]
)
_KNOWN = pa.schema([("uri", pa.string()), ("version", pa.string()), ("shard", pa.string())])
_FILES = TypeAdapter(tuple[Member, ...])
_AT_ONCE = 10_000
_SHOWN = 20


@dataclass(frozen=True)
class Audit:
    """What an audit found and did.

    Attributes:
        files: that the source has, as far as looks have come.
        late, late_shards: files that looks had not seen, and the new shards that hold them.
        changed, changed_shards: files with another content than their shards say, which now say it.
        gone: files of shards that the source has no more. Their rows stay.
        first_gone: some of them.
    """

    files: int
    late: int
    late_shards: tuple[str, ...]
    changed: int
    changed_shards: tuple[str, ...]
    gone: int
    first_gone: tuple[str, ...]


def audit(discovery: Discovery, now: float | None = None) -> Audit:
    """List a source whole and bring its manifests up to it.

    Args:
        now: seconds since 1970.

    Raises:
        StorageUnavailable, FileNotFoundError: it cannot be listed; nothing is changed then.
    """
    import duckdb

    manifests = Manifests(discovery.storage)
    settled = (time.time() if now is None else now) - discovery.source.unsettled_seconds
    with tempfile.TemporaryDirectory(prefix="curate-audit-") as folder, duckdb.connect(f"{folder}/db") as database:
        _insert(database, "there", _THERE, _there(discovery, settled))
        shards = [shard for shard in manifests.shards() if discovery.owns(shard)]
        _insert(database, "known", _KNOWN, _known(manifests, shards))
        late = _late(discovery, manifests, shards, database)
        changed = database.execute(
            "SELECT k.shard, t.uri, t.bytes, t.version, t.files FROM there t JOIN known k USING (uri) "
            "WHERE t.version <> k.version ORDER BY k.shard"
        ).fetchall()
        for shard, rows in groupby(changed, key=itemgetter(0)):
            fresh = {row[1]: _entry(*row[1:]) for row in rows}
            manifest = manifests.load(shard)
            entries = tuple(fresh.get(entry.uri, entry) for entry in manifest.entries)
            manifests.write(manifest.model_copy(update={"entries": entries}))
        gone = database.execute(
            f"SELECT uri FROM known ANTI JOIN there USING (uri) ORDER BY uri LIMIT {_SHOWN}"
        ).fetchall()
        return Audit(
            files=_count(database, "SELECT count(*) FROM there WHERE wanted"),
            late=sum(late.values()),
            late_shards=tuple(late),
            changed=len(changed),
            changed_shards=tuple(sorted({row[0] for row in changed})),
            gone=_count(database, "SELECT count(*) FROM known ANTI JOIN there USING (uri)"),
            first_gone=tuple(row[0] for row in gone),
        )


def _there(discovery: Discovery, settled: float) -> Iterator[tuple[str, int, str, str, bool]]:
    """The files up to the places that looks have come to: what is behind these is theirs."""
    places = discovery.progress().places
    for folder in folders(discovery.source.uri):
        place = places.get(folder)
        if place is None:
            continue
        check_source(folder, discovery.storage.root)
        waiting = set(place.unsettled)
        uri = partial(uri_of, folder)
        for unit in units(discovery.files, listed_in(folder), discovery.takes_in(folder)):
            if isinstance(unit, LeftOut):
                if unit.reason == UNREADABLE:  # what is in it would count as gone
                    raise StorageRefuses(f"{unit.path} cannot be read: let this user list it, or move it away")
                continue
            first = min((each.path for _, each in unit.members), default=unit.path)
            if comes_after(folder, first, place.after):
                break
            wanted = unit.left_out is None and unit.found.bytes > 0
            wanted = wanted and unit.found.modified <= settled and unit.path not in waiting
            entry = entry_of(unit, uri)
            yield entry.uri, entry.bytes, entry.version, _FILES.dump_json(entry.files).decode(), wanted


def _known(manifests: Manifests, shards: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for manifest in manifests.load_all(shards):
        if isinstance(manifest, ManifestError):
            raise manifest
        for entry in manifest.entries:
            yield entry.uri, entry.version, manifest.shard


def _insert(
    database: "duckdb.DuckDBPyConnection", name: str, schema: pa.Schema, rows: Iterable[tuple[object, ...]]
) -> None:
    columns = ", ".join(f"{field.name} {_SQL_TYPES[field.type]}" for field in schema)
    database.execute(f"CREATE TABLE {name} ({columns})")
    iterator = iter(rows)
    while batch := list(islice(iterator, _AT_ONCE)):
        arrays = [pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), schema, strict=True)]
        database.register("batch", pa.table(arrays, schema=schema))
        database.execute(f"INSERT INTO {name} SELECT * FROM batch")
        database.unregister("batch")


_SQL_TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN"}


def _late(
    discovery: Discovery, manifests: Manifests, shards: Sequence[str], database: "duckdb.DuckDBPyConnection"
) -> dict[str, int]:
    """Put files that no shard holds into new shards, of a series of their own; counts by shard."""
    found, source = database.cursor(), discovery.source
    found.execute("SELECT uri, bytes, version, files FROM there ANTI JOIN known USING (uri) WHERE wanted ORDER BY uri")
    entries = (_entry(*row) for row in iter(found.fetchone, None))
    runs = bounded(entries, source.units_per_shard, source.bytes_per_shard)
    series = discovery.late_series
    return manifests.close(series, manifests.next_ordinal(series, shards), runs, source.preset)


def _entry(uri: str, size: int, version: str, files: str) -> Entry:
    return Entry(uri=uri, bytes=size, version=version, files=_FILES.validate_json(files))


def _count(database: "duckdb.DuckDBPyConnection", sql: str) -> int:
    row = database.execute(sql).fetchone()
    return int(row[0]) if row else 0

"""Assets that are made at once from tables as they stand, and not by stages."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curate_assets.graph.platform import PlatformConfig
from curate_resources.declarations.table import Table
from curate_resources.pipeline.commit import Materialized, committed, remember
from curate_resources.pipeline.events import Committed, emit
from curate_resources.tables.history import ALL_SHARDS, identity_columns, identity_digest, identity_digests
from curate_resources.tables.lance_tables import Tables


class Markdown(str):
    """Metadata that the UI renders."""

    __slots__ = ()


class StoredPath(str):
    """Metadata that says where a file is. No link: browsers open neither `file:` nor `s3:`."""

    __slots__ = ()


@dataclass(frozen=True)
class Made:
    """What was made: rows by shard, and what the materialization's page says of them."""

    rows: Mapping[str, pa.Table] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Gathered:
    """How an asset is made that is made again whenever it is asked for, unless it says that it need not be.

    Attributes:
        make: its rows, from the tables, the configuration and the shard (`ALL_SHARDS` unless `per_shard`).
        reads: the tables that make a difference to it.
        per_shard: whether it is made shard by shard; else for all shards at once.
        stored: whether its rows are a table; else what it leaves is elsewhere, such as a page.
        kept: what is there already, where making it again would give the same; None: it has to be made.
        kinds: what the UI shows of how it is made and kept.
    """

    table: Table
    make: Callable[[Tables, PlatformConfig, str], Made]
    reads: tuple[Table, ...]
    per_shard: bool = False
    stored: bool = True
    kept: Callable[[Tables, PlatformConfig, str], Made | None] | None = None
    kinds: frozenset[str] = frozenset({"lance", "python"})

    def inputs(self, tables: Tables, shard: str = ALL_SHARDS) -> dict[str, str]:
        """By table that it reads, a digest of its rows as they stand."""
        return {
            table.name: identity_digest(table, [tables.read(table, shard or None, identity_columns(table))])
            for table in self.reads
        }

    def inputs_of(self, tables: Tables, shards: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """As `inputs`, of many shards at once."""
        digests: dict[str, dict[str, str]] = {shard: {} for shard in shards}
        for table in self.reads:
            rows = tables.read(table, shards, ["shard", *identity_columns(table)])
            for shard, digest in identity_digests(table, rows, shards, rows["shard"].to_pylist()).items():
                digests[shard][table.name] = digest
        return digests

    def materialize(
        self, tables: Tables, config: PlatformConfig, shard: str = ALL_SHARDS, force: bool = False
    ) -> tuple[Materialized, Mapping[str, Any]]:
        """Make it, commit its rows, and add it to the history with what it was made from.

        Args:
            force: whether it is made where it need not be, too.
        """
        inputs, started, began = self.inputs(tables, shard), time.perf_counter(), time.time_ns()
        kept = self.kept(tables, config, shard) if self.kept is not None and not force else None
        made = kept or self.make(tables, config, shard)
        version, rows = 0, self.table.joined(made.rows)
        if self.stored and self.per_shard:
            version = tables.swap(self.table, shard, rows)
        elif self.stored:
            version = tables.replace(self.table, made.rows)
        done = committed(self.table, shard, version, rows, seconds=time.perf_counter() - started)
        remember(tables.storage, self.table, config, done, rows, inputs)
        emit(Committed(done, began, time.time_ns()))
        return done, made.metadata

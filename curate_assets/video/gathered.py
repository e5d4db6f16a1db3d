"""The assets that are made at once from tables as they stand, and not by stages: what each of them is made from."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate_assets.video.captions import CAPTIONS
from curate_assets.video.clip_files import CLIP_FILES
from curate_assets.video.duplicates import DUPLICATE_GROUPS, DUPLICATE_PAIRS
from curate_assets.video.embeddings import CLIP_EMBEDDINGS
from curate_assets.video.report_file import DATASET_REPORT
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.signals import MOTION_SIGNALS
from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_assets.video.training_dataset import TRAINING_DATASET
from curate_resources.history import ALL_SHARDS, identity_columns, identity_digest, identity_digests
from curate_resources.plan import Materialized, committed, remember
from curate_resources.stage import Table
from curate_resources.tables import Tables


@dataclass(frozen=True)
class Gathered:
    """An asset that is made anew whenever it is asked for.

    Attributes:
        reads: the tables that make a difference to it.
        per_shard: whether it is made shard by shard, from rows of that shard; else from those of all shards.
    """

    table: Table
    reads: tuple[Table, ...]
    per_shard: bool = False

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

    def begin(self, tables: Tables, shard: str = ALL_SHARDS) -> "Making":
        """Note what it is made from, before it is."""
        return Making(self, tables, shard, self.inputs(tables, shard), time.perf_counter())


@dataclass(frozen=True)
class Making:
    """A gathered asset that is being made; `inputs` are those that it began with."""

    asset: Gathered
    tables: Tables
    shard: str
    inputs: Mapping[str, str]
    started: float

    def done(self, config: Any, version: int = 0, rows: pa.Table | None = None) -> Materialized:
        """Add it to the history, now that its rows are committed."""
        rows = rows if rows is not None else self.asset.table.empty()
        seconds = time.perf_counter() - self.started
        done = committed(self.asset.table, self.shard, version, rows, seconds=seconds)
        remember(self.tables.storage, self.asset.table, config, done, rows, self.inputs)
        return done


# Times, spans and sharpness change with the vectors, which are made from them.
PAIRS = Gathered(DUPLICATE_PAIRS, (CLIP_EMBEDDINGS, CLIP_SELECTION, MOTION_SIGNALS), per_shard=True)
GROUPS = Gathered(DUPLICATE_GROUPS, (DUPLICATE_PAIRS, CLIP_EMBEDDINGS, CLIP_SELECTION, SOURCE_VIDEOS))
DATASET = Gathered(TRAINING_DATASET, (CLIP_FILES, CAPTIONS, DUPLICATE_GROUPS, CLIP_SELECTION))
REPORT = Gathered(DATASET_REPORT, (*DATASET.reads, TRAINING_DATASET))

GATHERED: Mapping[str, Gathered] = {each.table.name: each for each in (PAIRS, GROUPS, DATASET, REPORT)}

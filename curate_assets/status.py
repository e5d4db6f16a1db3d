"""What is there, what is missing and what failed, read from the tables alone."""

from collections import Counter
from dataclasses import dataclass

from curate_assets.video.report.funnel import FunnelStep, funnel
from curate_assets.video.report_file import samples_in
from curate_assets.video.stages import TABLES
from curate_assets.video.training_dataset import TRAINING_DATASET
from curate_resources.manifests import MANIFEST, Manifests
from curate_resources.storage import Storage
from curate_resources.tables import Tables

_SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Failure:
    """A failed row; `subject` is the file, clip or video that it is about."""

    table: str
    shard: str
    subject: str
    message: str


@dataclass(frozen=True)
class AssetState:
    """Rows of one table by status; `missing` are the shards without any row."""

    name: str
    rows: dict[str, int]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """The state of everything under a root; `failures` are the first few, `failed_rows` counts them all."""

    root: str
    shards: tuple[str, ...]
    funnel: tuple[FunnelStep, ...]
    assets: tuple[AssetState, ...]
    failed_rows: int
    failures: tuple[Failure, ...]


def failed_shards(storage: Storage, assets: frozenset[str]) -> list[str]:
    """The shards with failed rows in any table of some assets, sorted."""
    tables = Tables(storage)
    found: set[str] = set()
    for table in TABLES.values():
        if table.name in assets:
            found |= set(tables.read(table, columns=["shard"], where="status = 'failed'")["shard"].to_pylist())
    return sorted(found)


def status_of(storage: Storage) -> Status:
    """Read the state."""
    tables = Tables(storage)
    shards = Manifests(storage).shards()
    states: list[AssetState] = []
    failures: list[Failure] = []
    failed = 0
    for table in (*TABLES.values(), TRAINING_DATASET):
        if table.name == MANIFEST.name:
            continue
        columns = tables.read(table, columns=["shard", "status"])
        counts = Counter(columns["status"].to_pylist())
        there = set(columns["shard"].to_pylist())
        missing = tuple(shard for shard in shards if shard not in there)
        states.append(AssetState(table.name, dict(sorted(counts.items())), missing))
        failed += counts["failed"]
        if counts["failed"] and len(failures) < _SHOWN_FAILURES:
            about = [name for name in ("uri", "clip_id", "video_id") if name in table.columns.names]
            broken = tables.read(table, columns=["shard", *about, "error"], where="status = 'failed'").to_pylist()
            for row in broken:
                subject = next((row[name] for name in about if row[name]), "")
                failures.append(Failure(table.name, row["shard"], subject, row["error"]["message"]))
    return Status(
        storage.root,
        tuple(shards),
        tuple(funnel(tables, samples_in(tables))),
        tuple(states),
        failed,
        tuple(failures[:_SHOWN_FAILURES]),
    )

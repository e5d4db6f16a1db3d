"""What is there, what is missing and what failed, read from the tables alone."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from curate_assets.video.clips import CLIPS
from curate_assets.video.report.funnel import FunnelStep, funnel
from curate_assets.video.report_file import samples_in
from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_assets.video.stages import TABLES
from curate_assets.video.training_dataset import TRAINING_DATASET
from curate_resources.history import ALL_SHARDS, History
from curate_resources.manifests import MANIFEST, Manifests
from curate_resources.stage import Table
from curate_resources.storage import Storage
from curate_resources.tables import Tables, quoted

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
    """Rows of one table by status.

    Attributes:
        missing: the shards that it was never made of.
        without_rows: the shards that it was made of, with nothing found.
    """

    name: str
    rows: dict[str, int]
    missing: tuple[str, ...]
    without_rows: tuple[str, ...] = ()


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
        if table.name in assets and table.name != MANIFEST.name:
            found.update(tables.read(table, columns=["shard"], where="status = 'failed'")["shard"].unique().to_pylist())
    return sorted(found)


def failed_rows(storage: Storage, assets: frozenset[str], shards: Collection[str]) -> list[Failure]:
    """All failed rows of some assets and shards, in the order of the graph; clips are named with their file."""
    tables = Tables(storage)
    chosen = [table for table in TABLES.values() if table.name in assets and table.name != MANIFEST.name]
    found = [each for table in chosen for each in _failures(tables, table, None) if each.shard in set(shards)]
    if not any(each.table != SOURCE_VIDEOS.name for each in found):
        return found
    files = _files(tables, {each.shard for each in found})
    return [replace(each, subject=_named(each, files)) for each in found]


def _files(tables: Tables, shards: Collection[str]) -> dict[str, str]:
    """The file of every video and clip, by its id."""
    sources = tables.read(SOURCE_VIDEOS, list(shards), ["video_id", "uri"]).to_pylist()
    files = {row["video_id"]: row["uri"] for row in sources if row["video_id"]}
    clips = tables.read(CLIPS, list(shards), ["clip_id", "video_id"]).to_pylist()
    return files | {row["clip_id"]: files.get(row["video_id"], "") for row in clips if row["clip_id"]}


def _named(failure: Failure, files: Mapping[str, str]) -> str:
    file = files.get(failure.subject)
    return f"{file} ({failure.subject})" if file else failure.subject


def status_of(storage: Storage) -> Status:
    """Read the state."""
    tables = Tables(storage)
    shards = Manifests(storage).shards()
    states: list[AssetState] = []
    failures: list[Failure] = []
    failed = 0
    made = History(storage).index().made()
    for table in (*TABLES.values(), TRAINING_DATASET):
        if table.name == MANIFEST.name:
            continue
        counts, there = _counted(tables, table)
        bare = [shard for shard in shards if shard not in there]
        states.append(
            AssetState(
                table.name,
                dict(sorted(counts.items())),
                tuple(shard for shard in bare if not _was_made(made, table.name, shard)),
                tuple(shard for shard in bare if _was_made(made, table.name, shard)),
            )
        )
        failed += counts["failed"]
        if counts["failed"] and len(failures) < _SHOWN_FAILURES:
            failures += _failures(tables, table, _SHOWN_FAILURES - len(failures))
    return Status(
        storage.root, tuple(shards), tuple(funnel(tables, samples_in(tables))), tuple(states), failed, tuple(failures)
    )


def _was_made(made: Mapping[tuple[str, str], tuple[int, int]], table: str, shard: str) -> bool:
    """Whether a table was made of a shard. One of all shards together was, if that was after this one was probed."""
    if (table, shard) in made:
        return True
    probed = made.get((SOURCE_VIDEOS.name, shard))
    of_all = made.get((table, ALL_SHARDS))
    return of_all is not None and probed is not None and of_all[1] >= probed[0]


def _counted(tables: Tables, table: Table) -> tuple[Counter[str], set[str]]:
    """Rows of a table by status, and the shards that have any; a batch of rows is held at a time."""
    counts = Counter[str]()
    there: set[str] = set()
    for batch in tables.batches(table, ["shard", "status"]):
        counts.update({each["values"].as_py(): each["counts"].as_py() for each in batch["status"].value_counts()})
        there.update(batch["shard"].unique().to_pylist())
    return counts, there


def _failures(tables: Tables, table: Table, most: int | None) -> list[Failure]:
    """The first failed rows of a table, or all."""
    about = [name for name in ("uri", "clip_id", "video_id") if table.has(name)]
    where = "status = 'failed'"
    if most is not None:
        places = tables.read(table, columns=["slot"], where=where)["slot"].slice(0, most).to_pylist()
        where = f"slot IN ({', '.join(map(quoted, places))})"
    return [
        Failure(table.name, row["shard"], next((row[name] for name in about if row[name]), ""), row["error"]["message"])
        for row in tables.read(table, columns=["shard", *about, "error"], where=where).to_pylist()
    ]

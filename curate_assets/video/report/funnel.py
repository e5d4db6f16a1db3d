"""The way from files to training samples, counted: what arrived at each step and what was lost before it."""

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate_assets.graph.graph import FunnelStep
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_resources.declarations.table import Table
from curate_resources.pipeline.commit import EXACT_COPY
from curate_resources.tables.lance_tables import Tables

if TYPE_CHECKING:
    import duckdb

Key = tuple[str, str]
"""A shard, and an id within it: two shards may hold the same file."""

WAITING = "waiting"
"""The reason of what is not lost: the next table has no row for it yet."""


@dataclass(frozen=True)
class Passage:
    """The funnel's steps, and which clips stand at each of them.

    Attributes:
        steps: all steps, in order.
        clips: clip keys by the name of a step, for the steps from `clips` to `clip files` whose tables are there.
    """

    steps: tuple[FunnelStep, ...]
    clips: dict[str, frozenset[Key]]


def funnel(tables: Tables, samples: int | None = None, shard: str | None = None) -> list[FunnelStep]:
    """Count the steps files, readable videos, shots, clips, selected, kept, clip files and samples.

    Rows about things that are no longer there, left by a shard that was made again in part, do not count. Reads a few
    short columns; what is held of them are ids.

    Args:
        samples: samples in the training set; None when there is none.
        shard: of this one only.
    """
    with _Way.opened(tables, shard) as way:
        return way.steps(samples)


def passage(tables: Tables, samples: int | None = None, shard: str | None = None) -> Passage:
    """As `funnel`, with the clips at each step."""
    with _Way.opened(tables, shard) as way:
        steps = way.steps(samples)
        return Passage(tuple(steps), {name: way.keys(place) for name, place in _PLACES.items() if place in way.made})


_PLACES = {"clips": "at_clips", "selected": "at_selected", "kept": "at_kept", "clip files": "at_files"}


class _Way:
    """The tables in a database in memory, and in it, step by step, the ids of what arrived."""

    def __init__(self, database: "duckdb.DuckDBPyConnection", tables: Tables, shard: str | None) -> None:
        self._database, self._tables, self._shard = database, tables, shard
        self.made: set[str] = set()
        """Tables of ids: `videos`, and those of _PLACES."""

    @classmethod
    @contextmanager
    def opened(cls, tables: Tables, shard: str | None) -> "Generator[_Way]":
        import duckdb

        with duckdb.connect() as database:
            yield cls(database, tables, shard)

    def steps(self, samples: int | None) -> list[FunnelStep]:
        """All steps, in order."""
        found = [*self._sources(), *self._clips()]
        for name, before, table, chosen, why in (
            ("selected", "at_clips", CLIP_SELECTION, "selected", "unnest(reasons)"),
            ("kept", "at_selected", DUPLICATE_GROUPS, "keeper", "CASE WHEN NOT keeper THEN 'duplicate' END"),
            ("clip files", "at_kept", CLIP_FILES, "status = 'ok'", "NULL"),
        ):
            found.append(self._step(name, before, table, chosen, why))
        delivered = found[-1].count
        left_out = delivered - samples if delivered is not None and samples is not None else 0
        return [*found, FunnelStep("samples", samples, _in_order({"left_out": left_out}))]

    def keys(self, place: str) -> frozenset[Key]:
        """The clips at a step."""
        return frozenset(self._database.execute(f"SELECT shard, clip_id FROM {place}").fetchall())

    def _sources(self) -> list[FunnelStep]:
        if not self._view("rows_of_sources", SOURCE_VIDEOS, ["shard", "video_id", "status", "error"]):
            return [FunnelStep("files", None), FunnelStep("readable videos", None)]
        self._make("videos", "SELECT DISTINCT shard, video_id FROM rows_of_sources WHERE status = 'ok'")
        copy = f"CASE WHEN status = 'empty' AND error.type = '{EXACT_COPY}' THEN 'exact_copy' ELSE status END"
        lost = self._counts(copy, "rows_of_sources", "status <> 'ok'")
        files = self._count("SELECT count(*) FROM rows_of_sources")
        readable = FunnelStep("readable videos", self._count("SELECT count(*) FROM videos"), _in_order(lost))
        return [FunnelStep("files", files), readable]

    def _clips(self) -> list[FunnelStep]:
        columns = ["shard", "video_id", "clip_id", "shot", "dropped", "status"]
        if not self._view("rows_of_clips", CLIPS, columns):
            return [FunnelStep("shots", None), FunnelStep("clips", None)]
        rows, lost = "rows_of_clips", Counter[str]()
        if "videos" in self.made:
            rows = "(SELECT * FROM rows_of_clips SEMI JOIN videos USING (shard, video_id))"
            seen = self._count(f"SELECT count(*) FROM (SELECT DISTINCT shard, video_id FROM {rows})")
            lost[WAITING] = self._count("SELECT count(*) FROM videos") - seen
        lost["failed"] = self._count(f"SELECT count(*) FROM {rows} WHERE status = 'failed'")
        shots = f"SELECT DISTINCT shard, video_id, shot FROM {rows} WHERE status <> 'failed'"
        self._make("at_clips", f"SELECT DISTINCT shard, clip_id FROM {rows} WHERE status = 'ok'")
        dropped = self._counts("coalesce(dropped, 'empty')", rows, "status = 'empty'")
        return [
            FunnelStep("shots", self._count(f"SELECT count(*) FROM ({shots})"), _in_order(lost)),
            FunnelStep("clips", self._count("SELECT count(*) FROM at_clips"), _in_order(dropped)),
        ]

    def _step(self, name: str, before: str, table: Table, chosen: str, why: str) -> FunnelStep:
        """A step of clips.

        Args:
            before: where those are that can arrive.
            chosen, why: SQL, of the rows that do, and for what reason the others do not.
        """
        view = f"rows_of_{table.name}"
        columns = [column for column in ("selected", "reasons", "keeper") if table.has(column)]
        if not self._view(view, table, ["shard", "clip_id", "status", *columns]):
            return FunnelStep(name, None)
        rows, lost = view, Counter[str]()
        if before in self.made:
            rows = f"(SELECT * FROM {view} SEMI JOIN {before} USING (shard, clip_id))"
            told = self._count(f"SELECT count(*) FROM (SELECT DISTINCT shard, clip_id FROM {rows})")
            lost[WAITING] = self._count(f"SELECT count(*) FROM {before}") - told
        lost += self._counts("status", rows, "status <> 'ok'")
        lost += self._counts("why", f"(SELECT {why} AS why FROM {rows})", "why IS NOT NULL")
        self._make(_PLACES[name], f"SELECT DISTINCT shard, clip_id FROM {rows} WHERE {chosen}")
        return FunnelStep(name, self._count(f"SELECT count(*) FROM {_PLACES[name]}"), _in_order(lost))

    def _view(self, name: str, table: Table, columns: list[str]) -> bool:
        """Have a table in the database; whether it was ever written."""
        if not self._tables.exists(table.name):
            return False
        if self._shard is None:
            self._database.register(name, self._tables.dataset(table.name))
        else:
            self._database.register(name, self._tables.read(table, self._shard, columns))
        return True

    def _make(self, name: str, sql: str) -> None:
        self._database.execute(f"CREATE TABLE {name} AS {sql}")
        self.made.add(name)

    def _count(self, sql: str) -> int:
        ((count,),) = self._database.execute(sql).fetchall()
        return count

    def _counts(self, what: str, rows: str, where: str) -> Counter[str]:
        found = self._database.execute(f"SELECT {what}, count(*) FROM {rows} WHERE {where} GROUP BY 1").fetchall()
        return Counter(dict(found))


def _in_order(lost: Mapping[str, int]) -> dict[str, int]:
    """The reasons that occur, most frequent first, what is only waiting last."""
    reasons = [reason for reason, count in lost.items() if count > 0]
    return {reason: lost[reason] for reason in sorted(reasons, key=lambda r: (r == WAITING, -lost[r], r))}


SOURCE_OUTCOMES = """
SELECT v.shard, v.uri, v.video_id,
    CASE WHEN v.status <> 'ok' THEN v.status WHEN s.status = 'failed' THEN 'failed'
         WHEN c.failed > 0 THEN 'failed' WHEN coalesce(c.clips, 0) = 0 THEN 'empty' ELSE 'ok' END AS outcome,
    CASE WHEN v.status <> 'ok' THEN 'source_videos' WHEN s.status = 'failed' THEN 'shot_signals'
         ELSE 'clips' END AS decided_by,
    coalesce(v.error.message, s.error.message, c.message,
        CASE WHEN coalesce(c.clips, 0) = 0 THEN c.dropped END) AS reason,
    coalesce(c.clips, 0) AS clips
FROM source_videos v
LEFT JOIN shot_signals s ON s.shard = v.shard AND s.video_id = v.video_id
LEFT JOIN (
    SELECT shard, video_id, count(*) FILTER (status = 'ok') AS clips, count(*) FILTER (status = 'failed') AS failed,
        min(error.message) AS message, min(dropped) AS dropped
    FROM clips GROUP BY shard, video_id
) c ON c.shard = v.shard AND c.video_id = v.video_id
"""
"""One row per source file with its terminal outcome, the table that decided it, and why."""

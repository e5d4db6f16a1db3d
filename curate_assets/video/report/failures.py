"""What went wrong, row by row, and which files are not used."""

from collections.abc import Sequence
from dataclasses import dataclass

from curate_assets.video.report.library import Library
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables

ROWS = 200
"""Failures, and unused files, listed."""


@dataclass(frozen=True)
class Failure:
    """A failed row."""

    table: str
    uri: str
    type: str
    message: str
    attempt: int


@dataclass(frozen=True)
class Unused:
    """A file that was read and is not used, and why."""

    uri: str
    type: str
    message: str


def failed_rows(library: Library, reported: Sequence[Table]) -> tuple[dict[str, int], tuple[Failure, ...]]:
    """All failed rows by table, and the first of them, ordered by file: one cause fails in several tables."""
    uris = {key: video["uri"] for key, video in library.videos.items()}
    counts: dict[str, int] = {}
    rows: list[tuple[str, int, Failure]] = []
    tables = Tables(library.tables.storage)  # each by its own name, also where the report sees a variant under it
    for place, table in enumerate(reported):
        named = [name for name in ("uri", "video_id", "clip_id", "clip_a") if table.has(name)]
        found = tables.read(table, columns=["shard", *named, "error"], where="status = 'failed'")
        if found.num_rows:
            counts[table.name] = found.num_rows
        for row in found.to_pylist():
            ids = [str(row[name]) for name in named if row[name] is not None]
            uri = row.get("uri") or uris.get((row["shard"], row.get("video_id") or "")) or " ".join(ids)
            error = row["error"] or {}
            kind, message = error.get("type") or "unknown", error.get("message") or "no reason was recorded"
            rows.append((uri, place, Failure(table.name, uri, kind, message, error.get("attempt") or 1)))
    rows.sort(key=lambda row: row[:2])
    return counts, tuple(failure for _, _, failure in rows[:ROWS])


def unused_files(library: Library) -> tuple[int, tuple[Unused, ...]]:
    """How many readable files are not used, and the first of them."""
    unused = [(row["uri"], row["error"] or {}) for row in library.files if row["status"] == "empty"]
    listed = [Unused(uri, error.get("type") or "empty", error.get("message") or "") for uri, error in unused[:ROWS]]
    return len(unused), tuple(listed)

"""Rankings of clips, one for each way of finding them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.graph.graph import Graph
from curate_assets.video.assets.caption_embeddings import CAPTION_EMBEDDINGS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.search.captions_that_count import captions_of, counting
from curate_assets.video.search.clip_filter import ClipFilter
from curate_assets.video.search.found import By, Match
from curate_assets.video.search.snippets import snippet
from curate_resources.declarations.table import Column, Table
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.searching import SCORE, Keep, matching, nearest

Ranking = dict[ClipKey, Match]

_DEEP = 100
"""Clips of a ranking at least: one that is far down in several rankings may be the best of all."""
_MEANT = 0.25
"""Least cosine of a caption with what is looked for. Unrelated texts have 0.0 to 0.2 with this encoder."""


@dataclass(frozen=True)
class Model:
    """Who made vectors; those of others cannot be compared with them."""

    name: str
    revision: str

    def made(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which rows it made."""
        return np.array(
            [
                (name, revision) == (self.name, self.revision)
                for name, revision in zip(rows["model"].to_pylist(), rows["model_revision"].to_pylist(), strict=True)
            ],
            bool,
        )


def text_columns(graph: Graph) -> list[tuple[Table, Column]]:
    """The texts of clips and their windows, in the order of the graph."""
    return [
        (table, column)
        for table in graph.tables.values()
        for column in table.columns
        if column.text and table.has("clip_id")
    ]


def by_words(tables: Tables, table: Table, column: str, words: str, clips: ClipFilter, limit: int) -> Ranking:
    """Clips whose text has some of the words."""
    windows = ("start_frame",) if "start_frame" in table.keys else ()
    rows = matching(
        tables,
        table,
        column,
        words,
        _both(clips.wanted(_deep(limit, table), (column, *windows)), counting(tables, table)),
    )
    return _ranked("words", f"{table.name}.{column}", rows, lambda row: snippet(row[column], words))


def by_meaning(tables: Tables, vector: NDArray[np.float32], model: Model, clips: ClipFilter, limit: int) -> Ranking:
    """Clips with a caption that means much the same, and is still the one that counts."""

    def current(rows: pa.Table) -> NDArray[np.bool_]:
        known = captions_of(tables, rows)
        said = [
            (found := known.get((row["shard"], row["clip_id"], row["start_frame"]))) is not None
            and found.caption is not None
            and found.caption["text_digest"] == row["text_digest"]
            for row in rows.select(["shard", "clip_id", "start_frame", "text_digest"]).to_pylist()
        ]
        return np.array(said, bool) & model.made(rows)

    wanted = clips.wanted(_deep(limit, CAPTION_EMBEDDINGS), ("start_frame", "text_digest", "model", "model_revision"))
    rows = nearest(tables, CAPTION_EMBEDDINGS, "vector", vector, _both(wanted, current))
    rows = rows.filter(pa.array(rows[SCORE].to_numpy() >= _MEANT))
    known = captions_of(tables, rows)

    def text(row: dict[str, Any]) -> str:
        caption = known[row["shard"], row["clip_id"], row["start_frame"]].caption
        return snippet(caption["text"], "") if caption is not None else ""

    return _ranked("meaning", f"{CAPTION_EMBEDDINGS.name}.vector", rows, text)


def by_picture(
    tables: Tables,
    by: By,
    table: Table,
    vector: NDArray[np.floating[Any]],
    model: Model,
    clips: ClipFilter,
    limit: int,
    but: ClipKey | None = None,
) -> Ranking:
    """Clips whose vector is near to one of the same model.

    Args:
        but: a clip that is left out: it is like itself.
    """

    def own(rows: pa.Table) -> NDArray[np.bool_]:
        made = model.made(rows)
        if but is not None:
            keys = zip(rows["clip_id"].to_pylist(), rows["shard"].to_pylist(), strict=True)
            made &= np.array([ClipKey(*key) != but for key in keys], bool)
        return made

    wanted = clips.wanted(max(limit, _DEEP), ("model", "model_revision"))
    return _ranked(by, f"{table.name}.vector", nearest(tables, table, "vector", vector, _both(wanted, own)))


def _ranked(by: By, field: str, rows: pa.Table, text: Callable[[dict[str, Any]], str] | None = None) -> Ranking:
    """The clips of rows that come in order, each at the place of its first row."""
    found: Ranking = {}
    for row in rows.to_pylist():
        key = ClipKey(row["clip_id"], row["shard"])
        if key not in found:
            found[key] = Match(by, field, len(found) + 1, row[SCORE], text(row) if text is not None else None)
    return found


def _deep(limit: int, table: Table) -> int:
    """Rows that make a ranking of enough clips; of tables of windows, clips have several."""
    return max(limit, _DEEP) * (3 if "start_frame" in table.keys else 1)


def _both(wanted: Any, keep: Keep | None) -> Any:
    """The same, of the rows that are kept besides."""
    before = wanted.keep
    if keep is None:
        return wanted
    if before is None:
        return replace(wanted, keep=keep)
    return replace(wanted, keep=lambda rows: _in_turn(rows, before, keep))


def _in_turn(rows: pa.Table, first: Keep, then: Keep) -> NDArray[np.bool_]:
    """Which rows both keep; the second, which may be slow, sees only those of the first."""
    kept = first(rows)
    kept[kept] = then(rows.filter(pa.array(kept)))
    return kept

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
from curate_assets.video.search.asked_words import AskedWords
from curate_assets.video.search.captions_that_count import captions_of
from curate_assets.video.search.clip_filter import ClipFilter
from curate_assets.video.search.found import By, Match
from curate_assets.video.search.snippets import snippet
from curate_resources.declarations.table import Column, Table
from curate_resources.tables.best_rows import SCORE, Keep, Wanted
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.searching import matching, nearest

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

    @property
    def test(self) -> Keep:
        """That they are its own."""
        return Keep(("model", "model_revision"), self._made)

    def _made(self, rows: pa.Table) -> NDArray[np.bool_]:
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


def by_words(
    tables: Tables,
    table: Table,
    column: str,
    words: AskedWords,
    clips: ClipFilter,
    limit: int,
    counts: Keep | None = None,
) -> Ranking:
    """Clips whose text has some of the words, and all phrases.

    Args:
        counts: which rows are looked at.
    """
    phrases = " ".join(words.phrases)
    having = Keep((column,), lambda rows: np.array([words.in_text(each) for each in rows[column].to_pylist()], bool))
    windows = ("start_frame",) if "start_frame" in table.keys else ()
    rows = matching(
        tables,
        table,
        column,
        words.any_of,
        _besides(clips.wanted(_deep(limit, table), (column, *windows)), having, counts),
        phrases,
    )
    return _ranked("words", f"{table.name}.{column}", rows, lambda row: snippet(row[column], phrases or words.any_of))


def by_meaning(tables: Tables, vector: NDArray[np.float32], model: Model, clips: ClipFilter, limit: int) -> Ranking:
    """Clips with a caption that means much the same, and is still the one that counts."""

    def current(rows: pa.Table) -> NDArray[np.bool_]:
        known = captions_of(tables, rows)
        said = [
            (found := known.get((row["shard"], row["clip_id"], row["start_frame"]))) is not None
            and found.caption is not None
            and found.caption["text_digest"] == row["text_digest"]
            and found.caption["text"].strip() != ""
            for row in rows.to_pylist()
        ]
        return np.array(said, bool)

    wanted = clips.wanted(_deep(limit, CAPTION_EMBEDDINGS), ("start_frame",))
    tests = (model.test, Keep(("shard", "clip_id", "start_frame", "text_digest"), current))
    rows = nearest(tables, CAPTION_EMBEDDINGS, "vector", vector, _besides(wanted, *tests))
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
    than: NDArray[np.floating[Any]] | None = None,
) -> tuple[Ranking, bool]:
    """Clips whose vector is near to one of the same model, and whether there is any of that model.

    Args:
        but: a clip that is left out: it is like itself.
        than: other vectors, [n, d]; clips that are nearer to one of them are left out.
    """

    def others(rows: pa.Table) -> NDArray[np.bool_]:
        keys = zip(rows["clip_id"].to_pylist(), rows["shard"].to_pylist(), strict=True)
        return np.array([ClipKey(*key) != but for key in keys], bool)

    other = Keep(("clip_id", "shard"), others) if but is not None else None
    wanted = _besides(clips.wanted(max(limit, _DEEP), ("vector",)), model.test, other)
    rows = nearest(tables, table, "vector", vector, wanted)
    near = rows if than is None else rows.filter(pa.array(_nearer(rows, vector, than)))
    return _ranked(by, f"{table.name}.vector", near.drop_columns(["vector"])), rows.num_rows > 0


def _nearer(rows: pa.Table, vector: NDArray[np.floating[Any]], than: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which rows are nearer to one unit vector than to any of some others."""
    stored = np.array(rows["vector"].to_pylist(), np.float32).reshape(-1, len(vector))
    return (stored @ vector > (stored @ than.T).max(axis=1, initial=-np.inf)).astype(bool)


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


def _besides(wanted: Wanted, *tests: Keep | None) -> Wanted:
    """The same, of the rows that pass some more tests."""
    return replace(wanted, keep=(*wanted.keep, *(test for test in tests if test is not None)))

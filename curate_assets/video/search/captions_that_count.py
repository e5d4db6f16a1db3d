"""Of the captions that a search comes upon, those that count: later stages may have rewritten one since."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.video.caption_texts import CAPTION_STAGES, WindowCaption, caption_columns, window_captions
from curate_resources.declarations.table import Row, Table
from curate_resources.tables.best_rows import Keep
from curate_resources.tables.lance_tables import Tables, one_of

_Window = tuple[str, str, int]


def counting(tables: Tables, table: Table) -> Keep | None:
    """That rows of a table of captions hold the text that counts; None: of this table, all do.

    Args:
        tables: under which the stages are those that are made from each other. Other captions stand by themselves.
    """
    stages = {tables.named(each.name): each.name for each in CAPTION_STAGES}
    if table.name not in stages or not _several(tables):
        return None
    stage = stages[table.name]

    def keep(rows: pa.Table) -> NDArray[np.bool_]:
        known = captions_of(tables, rows)
        return np.array([(found := known.get(key)) is not None and found.stage == stage for key in _keys(rows)], bool)

    return Keep(("shard", "clip_id", "start_frame"), keep)


def captions_of(tables: Tables, rows: pa.Table) -> dict[_Window, WindowCaption]:
    """The captions of some windows, given as rows with `shard`, `clip_id` and `start_frame`."""
    if not rows.num_rows:
        return {}
    shards = {*rows["shard"].to_pylist()}
    where = one_of("clip_id", rows["clip_id"].to_pylist())
    texts: dict[str, list[Row]] = {
        each.name: tables.read(each, shards, caption_columns(each, "shard", "window", "text_digest"), where).to_pylist()
        for each in CAPTION_STAGES
    }
    return {
        (each.window["shard"], each.window["clip_id"], each.window["start_frame"]): each
        for each in window_captions(texts)
    }


def _several(tables: Tables) -> bool:
    return sum(tables.exists(each.name) and tables.dataset(each.name).count_rows() > 0 for each in CAPTION_STAGES) > 1


def _keys(rows: pa.Table) -> list[_Window]:
    return list(zip(*(rows[name].to_pylist() for name in ("shard", "clip_id", "start_frame")), strict=True))

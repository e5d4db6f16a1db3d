"""The scores of many clips as columns, put together from the rows of the assets that declare them."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.graph.graph import Asset
from curate_assets.video.assets.clips import CLIPS
from curate_resources.pipeline.fingerprints import keys_of
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.scores.thresholds import Measured, Scores

_FEW = 500
"""Rows up to which Python is quicker than Arrow, a call of which costs some fifty microseconds."""

_BETWEEN = "\n"


def clip_scores(
    assets: Sequence[Asset], names: Collection[str], clips: pa.Table, rows: Mapping[str, pa.Table]
) -> dict[str, NDArray[np.float64]]:
    """Some scores of clips, in their order.

    Args:
        assets: that declare scores.
        names: of the scores that are wanted.
        clips: with the columns by which rows of other tables belong to them.
        rows: by asset, those of some clips or of their videos; only good ones count. With a column `shard` in both,
            rows belong to clips of their shard.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for asset in assets:
        wanted = [score for score in asset.scores if score.name in names]
        if not wanted:
            continue
        if asset.table is CLIPS:
            found |= {score.name: score.column(clips) for score in wanted}
            continue
        own = rows[asset.name]
        if "status" in own.column_names and set(own["status"].unique().to_pylist()) - {"ok"}:
            own = own.filter(pc.field("status") == "ok")
        place = _places(clips, own, [*_shard(clips, own), *asset.table.links])
        for score in wanted:
            # One more value than there are rows, for the clips that have none: place -1.
            found[score.name] = np.append(score.column(own), np.nan)[place]
    return found


def stored_scores(
    assets: Sequence[Asset], names: Collection[str], clips: pa.Table, tables: Tables, shards: Collection[str] | None
) -> dict[str, NDArray[np.float64]]:
    """The same of clips with a column `shard`, from stored rows, as far as they were measured.

    Args:
        shards: whose clips they are; None: of all.
    """
    rows: dict[str, pa.Table] = {}
    for asset in assets:
        columns = dict.fromkeys(name for score in asset.scores if score.name in names for name in score.columns)
        if columns and asset.table is not CLIPS:
            wanted = dict.fromkeys(["shard", *asset.table.links, *columns])
            rows[asset.name] = tables.read(asset.table, shards, [*wanted], "status = 'ok'")
    return clip_scores(assets, names, clips, rows)


def by_clip(scores: Scores) -> list[Measured]:
    """Scores as a mapping for each clip."""
    columns = [[None if value != value else value for value in column.tolist()] for column in scores.values()]
    return [dict(zip(scores, each, strict=True)) for each in zip(*columns, strict=True)]


def _shard(clips: pa.Table, rows: pa.Table) -> list[str]:
    return ["shard"] if "shard" in clips.column_names and "shard" in rows.column_names else []


def _places(clips: pa.Table, rows: pa.Table, links: Sequence[str]) -> NDArray[np.intp]:
    """By clip, the place of its row; -1 where there is none."""
    if clips.num_rows + rows.num_rows < _FEW:
        of = {key: place for place, key in enumerate(keys_of(rows, links))}
        return np.array([of.get(key, -1) for key in keys_of(clips, links)], np.intp)
    if clips.num_rows == rows.num_rows and all(clips[name].equals(rows[name]) for name in links):
        return np.arange(rows.num_rows)  # both are stored in order
    own, theirs = _joined(clips, links), _joined(rows, links)
    return pc.call_function("index_in", [own], pc.SetLookupOptions(theirs)).fill_null(-1).to_numpy()


def _joined(rows: pa.Table, links: Sequence[str]) -> pa.ChunkedArray:
    columns = [rows[name] for name in links]
    return (
        columns[0]
        if len(columns) == 1
        else pc.call_function("binary_join_element_wise", [*columns, pa.scalar(_BETWEEN)])
    )

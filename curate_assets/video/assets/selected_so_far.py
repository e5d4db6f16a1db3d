"""`selected_so_far`: the verdict on every clip by the scores that cost little, for measurements that cost more."""

from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.clip_lists import listed_clips
from curate_assets.video.clip_scores import clip_scores
from curate_assets.video.measuring import SO_FAR, comes_last, is_costly
from curate_assets.video.verdicts import COSTLY, SCORED, judged, verdict_columns
from curate_resources.declarations.stage import Made, Stage, Work, Worker
from curate_resources.declarations.table import Column, Table
from curate_resources.storage.root import Storage

SELECTED_SO_FAR = Table(
    name=SO_FAR,
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("clip_selection",),
    identity=("selected",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("selected", pa.bool_(), "whether no cheaper score speaks against it"),
        Column("reasons", pa.list_(pa.string()), "every reason of these, as in `clip_selection`"),
    ),
    description=(
        "The verdict on every clip by the scores that cost little: of its file, its length, and what the scan took "
        "down. Measurements with `when: selected_so_far` leave rejected clips out. Without any, there are no rows."
    ),
)

_CHEAP = tuple(asset for asset in SCORED if not is_costly(asset))


def _nobody_asks(config: Any) -> bool:
    return not any(comes_last(asset, config) for asset in COSTLY)


def open_first_selector(config: Any, storage: Storage) -> Worker:
    """A worker that compares the scores that cost little with thresholds."""
    listed = listed_clips(storage, config.clip_selection.only)

    def select(work: Work) -> Made:
        clips = work.items
        ids = clips["clip_id"].to_pylist()
        found = judged(config, ids, lambda names: clip_scores(_CHEAP, names, clips, work.inputs), listed, _CHEAP)
        return {SO_FAR: pa.table(verdict_columns(found, clips))}

    return select


SELECT_SO_FAR = Stage(
    name="select_so_far",
    item=CLIPS.name,
    reads=tuple(asset.name for asset in _CHEAP if asset.table is not CLIPS),
    writes=(SELECTED_SO_FAR,),
    open=open_first_selector,
    idle=_nobody_asks,
    of_shards=True,
)

ASSET = Asset(SELECTED_SO_FAR, SELECT_SO_FAR, "clips")

"""The video graph: from files to the training set and its report. A graph is a list of assets."""

from curate_assets.graph.graph import FunnelStep, Graph, Job, Phase, View
from curate_assets.graph.run_pools import DECODE, GPU
from curate_assets.video import scan
from curate_assets.video.assets import (
    captions,
    clip_embeddings,
    clip_files,
    clip_selection,
    clips,
    dataset_report,
    duplicate_groups,
    duplicate_pairs,
    motion_scores,
    source_videos,
    training_dataset,
)
from curate_assets.video.report.funnel import SOURCE_OUTCOMES, funnel
from curate_resources.declarations.table import UnitTable
from curate_resources.tables.lance_tables import Tables

_ASSETS = (
    source_videos.ASSET,
    *scan.ASSETS,
    clips.ASSET,
    motion_scores.ASSET,
    clip_embeddings.ASSET,
    clip_selection.ASSET,
    duplicate_pairs.ASSET,
    duplicate_groups.ASSET,
    captions.ASSET,
    clip_files.ASSET,
    training_dataset.ASSET,
)


def _funnel(tables: Tables, shard: str | None) -> list[FunnelStep]:
    return funnel(tables, training_dataset.samples_in(tables) if shard is None else None, shard)


VIDEO = Graph(
    name="video",
    units=UnitTable(source_videos.SOURCE_VIDEOS, noun="video", place="uri", id="video_id"),
    listed=(*_ASSETS, dataset_report.asset([asset.table for asset in _ASSETS])),
    phase_names=(
        Phase(
            "curate_videos",
            "One streaming plan from files to selected clips; every source video is decoded once.",
            DECODE,
        ),
        Phase("deliver_clips", "Captions and files of the clips that are selected and no duplicates.", GPU),
    ),
    funnel=_funnel,
    jobs=(
        Job(
            "group_duplicates",
            "Groups duplicates among the clips of all shards; then make_new_shards makes files and captions.",
            ("duplicate_groups",),
        ),
        Job(
            "publish_dataset",
            "Writes the training set of all clip files that there are, and its report.",
            ("training_dataset", "dataset_report"),
        ),
    ),
    views={"source_outcomes": View(frozenset({"source_videos", "shot_signals", "clips"}), SOURCE_OUTCOMES)},
)

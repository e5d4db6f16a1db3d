"""The video graph: from files to the training set and its report. Its assets are the modules of `video/assets`."""

from typing import Any

from curate_assets.graph.discovery import MEASUREMENTS_GROUP, assets_in, brought_assets
from curate_assets.graph.graph import CommandSection, FunnelStep, Graph, Job, Phase, View
from curate_assets.graph.run_pools import DECODE, GPU
from curate_assets.video import assets
from curate_assets.video.assets import source_videos, training_dataset
from curate_assets.video.comparison.regressions import JUDGE, baselines_are_captions
from curate_assets.video.report.funnel import SOURCE_OUTCOMES, funnel
from curate_assets.video.shown_frames import holds_what_is_shown
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.captioners.judge import JUDGES


def _funnel(tables: Tables, shard: str | None) -> list[FunnelStep]:
    return funnel(tables, training_dataset.samples_in(tables) if shard is None else None, shard)


def _selection_preview(tables: Tables, shard: str) -> str:
    from curate_assets.video.report.funnel_markdown import selection_preview  # workers do without charts

    return selection_preview(tables, shard)


def _judges_captions(config: Any) -> None:
    holds_what_is_shown(JUDGE)(config)
    baselines_are_captions(config)


VIDEO = Graph(
    name="video",
    units=source_videos.UNITS,
    listed=(*assets_in(assets), *brought_assets(MEASUREMENTS_GROUP)),
    named_phases=(
        Phase(
            "curate_videos",
            "One streaming plan from files to selected clips; every source video is decoded once.",
            DECODE,
        ),
        Phase("deliver_clips", "Captions and files of the clips that are selected and no duplicates.", GPU),
    ),
    funnel=_funnel,
    previews={"clip_selection": _selection_preview},
    remark="In what is made of them, HDR becomes SDR and 10 bits become 8; interlaced video is not deinterlaced.",
    jobs=(
        Job(
            "group_duplicates",
            "Groups duplicates among the clips of all shards; then make_new_shards makes files and captions.",
            ("duplicate_groups",),
        ),
        Job(
            "publish_dataset",
            "Writes the training set of all clip files that there are, and its report.",
            ("concept_clusters", "training_dataset", "dataset_report"),
        ),
    ),
    views={"source_outcomes": View(frozenset({"source_videos", "shot_signals", "clips"}), SOURCE_OUTCOMES)},
    commands={JUDGE: CommandSection(JUDGES, _judges_captions)},
)

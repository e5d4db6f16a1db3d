"""`dataset_report`: the page on the dataset as it stands."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from curate_assets.graph.discovery import ASSETS_GROUP, brought_assets
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.whole_table import Gathered, Made, Markdown, StoredPath
from curate_assets.video.assets import clip_files
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.training_dataset import TRAINING_DATASET, samples_in
from curate_assets.video.caption_texts import CAPTION_STAGES
from curate_assets.video.report.contents import ReportContents, gather
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables

REPORT_PATH = "reports/dataset.html"

DATASET_REPORT = Table(
    name="dataset_report",
    grain="page",
    keys=(),
    columns=(),
    description=(
        "One HTML page on the dataset as it stands: the funnel, distributions, kept and rejected clips by reason, "
        "duplicate groups side by side, failures."
    ),
)
"""Not a stored table: the page is all there is."""

_SHOWN_SHARDS = 4


@dataclass(frozen=True)
class Report:
    """A written report: where it is, what it says, and its distributions by title, as SVG documents."""

    uri: str
    contents: ReportContents
    charts: dict[str, str]


def write_report(tables: Tables, config: PlatformConfig, reported: Sequence[Table]) -> Report:
    """Write the report of the tables as they stand.

    Args:
        reported: the tables whose failures are listed.
    """
    from curate_assets.video.report.charts import histogram, standalone  # not in workers, which know the whole graph
    from curate_assets.video.report.page import render

    contents = gather(tables, config, samples_in(tables), reported)
    tables.storage.write(REPORT_PATH, render(contents).encode())
    charts = {each.title: standalone(histogram(each), 420) for each in contents.distributions if each.bars}
    return Report(tables.storage.uri(REPORT_PATH), contents, charts)


def _made(tables: Tables, config: PlatformConfig, _: str) -> Made:
    from curate_assets.video.graph import VIDEO  # this asset is on it
    from curate_assets.video.report.funnel_markdown import funnel_markdown

    graph = VIDEO.extended(brought_assets(ASSETS_GROUP))
    report = write_report(tables, config, tuple(graph.tables.values()))
    steps = report.contents.funnel
    charts = [f"**{title}**\n\n{_image(title, svg)}" for title, svg in report.charts.items()]
    return Made(
        metadata={
            "report": StoredPath(report.uri),
            "funnel": Markdown(funnel_markdown(steps)),
            "distributions": Markdown("\n\n".join(charts)),
            "kept_clips": Markdown(_kept_clips(tables)),
            **{step.name.replace(" ", "_"): step.count for step in steps if step.count is not None},
        }
    )


def _image(title: str, svg: str) -> str:
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _kept_clips(tables: Tables) -> str:
    """One contact sheet per shard, of the first few."""
    shards = tables.shards(CLIP_FILES) if tables.exists(CLIP_FILES.name) else []
    sheets = [clip_files.preview(tables, shard) for shard in shards[:_SHOWN_SHARDS]]
    return "\n\n".join(sheet for sheet in sheets if sheet) or "no clip files yet"


GATHER = Gathered(
    DATASET_REPORT,
    _made,
    (CLIP_FILES, *CAPTION_STAGES, DUPLICATE_GROUPS, CLIP_SELECTION, TRAINING_DATASET),
    stored=False,
    kinds=frozenset({"html"}),
)

ASSET = Asset(DATASET_REPORT, GATHER, "delivery", published=True)

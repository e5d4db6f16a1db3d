"""`curate calibrate`: thresholds from percentiles of the scores, or from labels."""

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from curate_cli.command import OK, Json, Root, existing_root, of_video_graph
from curate_cli.labelling import LabelOptions, label
from curate_cli.printing import escaped, open_page, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.calibration import Calibration

_PANEL = "Labels"


def calibrate(
    score: Annotated[
        list[str] | None,
        typer.Option(help="A score, such as motion_global_mean; may be repeated. Default: those with a threshold."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Of every score that is measured; nothing can be written.")
    ] = False,
    percentile: Annotated[
        float, typer.Option(min=0, max=50, help="Percent of the sampled clips that each threshold is to reject.")
    ] = 5.0,
    sample: Annotated[int, typer.Option(min=1, help="Most clips to look at; drawn by their ids.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another number draws another sample.")] = 0,
    preset: Annotated[
        str | None,
        typer.Option(help="Calibrate the sources of this preset, and write to it. Default: those that have none."),
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write/--dry-run", help="Set the thresholds in <root>/curate.yaml or the preset; or show them."),
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="Find the threshold on this score, or this setting, by labels: a page asks about the clips that "
            "decide most.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    listed: Annotated[
        int | None,
        typer.Option("--next", min=1, help="List the clips to label next, as CSV, instead.", rich_help_panel=_PANEL),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="Take labels from a CSV or JSONL file: clip_id, label.", rich_help_panel=_PANEL),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(help="Write all labels to this CSV or JSONL file.", metavar="FILE", rich_help_panel=_PANEL),
    ] = None,
    ask: Annotated[
        bool,
        typer.Option("--ask/--no-ask", help="Ask, or only tell what the labels say.", rich_help_panel=_PANEL),
    ] = True,
    precision: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least share of kept clips that are good.", rich_help_panel=_PANEL),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least share of good clips that are kept.", rich_help_panel=_PANEL),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=0.5,
            help="How far either may be off for labels to be enough, where it has no goal.",
            rich_help_panel=_PANEL,
        ),
    ] = 0.05,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Of the bounds of both.", rich_help_panel=_PANEL)
    ] = 0.95,
    labeller: Annotated[
        str | None, typer.Option(help="Who labels. Default: the name of the user.", rich_help_panel=_PANEL)
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page. Default: a free one.", rich_help_panel=_PANEL)
    ] = 0,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Propose thresholds: from percentiles of the scores, with a page of the clips on both sides, or from labels.

    With --labels, a page on this machine asks whether clips are to be kept, until precision and recall of the threshold
    are known well enough. Labels are kept under the root, where others can go on with them.
    """
    from curate_assets.graph.platform import ConfigError
    from curate_assets.settings.edit import write_settings
    from curate_assets.settings.presets import ShardSettings, shards_with
    from curate_assets.settings.resolve import CONFIG_FILE, preset_file, presets
    from curate_assets.video.calibration import SECTION
    from curate_assets.video.calibration import calibrate as calibrated
    from curate_assets.video.labelling.labelling import Labelling
    from curate_assets.video.report.calibration_page import write_calibration
    from curate_resources.tables.lance_tables import Tables
    from gpu_kernels.errors import UserError
    from gpu_kernels.scores.labelled_threshold import Goals

    of_video_graph("calibrate")
    if every and (score or write):
        raise UserError("--all is to look at every score: name those to choose or to write with --score")
    if labels and (score or every):
        raise UserError("--labels finds the threshold of one score: leave out --score and --all")
    if not labels and (listed or answers or export):
        raise UserError("--next, --answers and --export need --labels SCORE: which score are the labels for?")
    storage = existing_root(root)
    tables = Tables(storage)
    config = ShardSettings.read(storage).preset(preset)
    shards = shards_with(storage, preset) if preset or presets(storage) else None
    if preset and not shards:
        raise ConfigError(f"no shard has the preset {preset}: sources.yaml says which source has which")
    path = preset_file(preset) if preset else CONFIG_FILE
    if write and preset and not storage.exists(path):
        raise ConfigError(
            f"the preset {preset} comes with the platform: write {storage.uri(path)} first, which then holds"
        )
    if labels:
        goals = Goals(precision, recall, margin, confidence)
        labelling = Labelling(tables, config, labels, labeller or getpass.getuser(), goals, shards)
        options = LabelOptions(listed, answers, export, ask, port, show, as_json)
        return label(labelling, storage, options, path if write else None)
    found = calibrated(tables, config, score or [], sample, percentile, seed, shards, every)
    page = write_calibration(tables, found)
    written = write_settings(storage, SECTION, found.settings, path) if write else None
    how = "[bold]--score NAME --write[/bold] sets those of a score" if every else "[bold]--write[/bold] does it"
    _print_calibration(found, page, written, how, show and not as_json, as_json)
    return OK


def _print_calibration(
    found: "Calibration", page: str, written: str | None, how: str, show: bool, as_json: bool
) -> None:
    """The proposed thresholds, what they reject, and where they were written, or how they would be."""
    sample = len(found.sample)
    if as_json:
        print_document(
            {
                "clips": found.clips,
                "sample": sample,
                "percentile": found.percentile,
                "rejected_now": found.rejected_now,
                "rejected": found.rejected,
                "proposals": [asdict(each) for each in found.proposals],
                "left_out": found.left_out,
                "page": page,
                "written": written,
            }
        )
        return
    console = results()
    console.print(f"{sample} of {found.clips} clips; each threshold is to reject {found.percentile:g}% of them")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("clip_selection", "now", "proposed", "rejects now", "rejects then", "alone"):
        table.add_column(column, justify="left" if column == "clip_selection" else "right")
    for each in found.proposals:
        shares = [f"{count / sample:.1%}" for count in (each.rejected_now, each.rejected, each.rejected_alone)]
        now = "off" if each.current is None else f"{each.current:.4g}"
        table.add_row(each.setting, now, f"[bold]{each.proposed:.4g}[/bold]", *shares)
    table.add_row("all together", "", "", f"{found.rejected_now / sample:.1%}", f"{found.rejected / sample:.1%}", "")
    console.print(table)
    for setting, why in found.left_out.items():
        console.print(f"{setting}: {escaped(why)}", soft_wrap=True)
    console.print(f"page: {escaped(page)}", soft_wrap=True)
    if written:
        console.print(f"written to {escaped(written)}", soft_wrap=True)
        console.print("Next: [bold]curate materialize --select clip_selection+[/bold]")
    else:
        console.print(f"Nothing was set: {how}.")
    if show:
        open_page(page)

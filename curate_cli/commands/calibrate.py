"""`curate calibrate`: thresholds from percentiles of the scores."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from curate_cli.command import OK, Json, Root, existing_root, of_video_graph
from curate_cli.printing import escaped, open_page, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.calibration import Calibration


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
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Propose thresholds from percentiles of the scores, with a page of the clips on both sides of each."""
    from curate_assets.graph.platform import ConfigError
    from curate_assets.settings.edit import write_settings
    from curate_assets.settings.presets import ShardSettings, shards_with
    from curate_assets.settings.resolve import CONFIG_FILE, preset_file, presets
    from curate_assets.video.calibration import SECTION
    from curate_assets.video.calibration import calibrate as calibrated
    from curate_assets.video.report.calibration_page import write_calibration
    from curate_resources.tables.lance_tables import Tables
    from gpu_kernels.errors import UserError

    of_video_graph("calibrate")
    if every and (score or write):
        raise UserError("--all is to look at every score: name those to choose or to write with --score")
    storage = existing_root(root)
    tables = Tables(storage)
    config = ShardSettings.read(storage).preset(preset)
    shards = shards_with(storage, preset) if preset or presets(storage) else None
    if preset and not shards:
        raise ConfigError(f"no shard has the preset {preset}: sources.yaml says which source has which")
    found = calibrated(tables, config, score or [], sample, percentile, seed, shards, every)
    page = write_calibration(tables, found)
    path = preset_file(preset) if preset else CONFIG_FILE
    if write and preset and not storage.exists(path):
        raise ConfigError(
            f"the preset {preset} comes with the platform: write {storage.uri(path)} first, which then holds"
        )
    written = write_settings(storage, SECTION, found.settings, path) if write else None
    _print_calibration(found, page, written, show and not as_json, as_json)
    return OK


def _print_calibration(found: "Calibration", page: str, written: str | None, show: bool, as_json: bool) -> None:
    """The proposed thresholds, what they reject, and where they were written."""
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
        console.print("Nothing was set: [bold]--write[/bold] does it.")
    if show:
        open_page(page)

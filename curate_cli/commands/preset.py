"""`curate preset`: thresholds of papers and of other pipelines, and this root's own presets."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from curate_cli.command import OK, Json, Root, of_video_graph, told
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.settings.apply_preset import Applied, Change
    from curate_assets.settings.shipped_presets import Rule, ShippedPreset

preset = typer.Typer(no_args_is_help=True, help="Thresholds of papers and of other pipelines, and presets of your own.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A preset; see `curate preset list`.")]


def list_(root: Root = None, as_json: Json = False) -> int:
    """List the presets that come with the platform, and those of this root."""
    from curate_assets.settings.resolve import preset_file, presets
    from curate_assets.settings.shipped_presets import shipped_presets
    from curate_resources.storage.root import Storage, root_uri

    of_video_graph("preset")
    storage = Storage(root_uri(root))
    own = {name: {"title": storage.uri(preset_file(name)), "about": "of this root"} for name in presets(storage)}
    shipped = {name: {"title": each.title, "about": each.about} for name, each in shipped_presets().items()}
    found = {**shipped, **own}
    if as_json:
        print_document([{"name": name, **about} for name, about in found.items()])
        return OK
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("preset", "after", "what it is"):
        table.add_column(column)
    for name, about in found.items():
        table.add_row(f"[bold]{escaped(name)}[/bold]", escaped(about["title"]), escaped(about["about"]))
    results().print(table)
    return OK


def show(name: _Name, root: Root = None, as_json: Json = False) -> int:
    """Show what a preset sets, where each value comes from, and what of it cannot be reproduced."""
    from curate_assets.settings.edit import as_yaml
    from curate_assets.settings.resolve import is_shipped, preset_settings, stored_config
    from curate_assets.settings.shipped_presets import shipped_presets
    from curate_resources.storage.root import Storage, root_uri

    of_video_graph("preset")
    storage = Storage(root_uri(root))
    values = preset_settings(storage, name, stored_config(storage))
    if is_shipped(storage, name):
        _show_shipped(name, shipped_presets()[name], as_json)
    elif as_json:
        print_document({"name": name, "settings": values})
    else:
        for section, keys in values.items():
            print(f"{section}: {as_yaml(keys)}")
    return OK


def apply(
    name: _Name,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Write a preset's settings into <root>/curate.yaml, each with its source in a comment."""
    from curate_assets.settings.apply_preset import apply_preset
    from curate_resources.storage.root import Storage, root_uri

    of_video_graph("preset")
    applied = apply_preset(Storage(root_uri(root)), name, dry_run)
    if as_json:
        rules = {
            "in_part": applied.in_part,
            "left_out": applied.left_out,
            "not_reproduced": applied.not_reproduced,
        }
        told_rules = {key: [each.model_dump() for each in some] for key, some in rules.items()}
        changes = [asdict(each) for each in applied.changes]
        written = None if dry_run or _says_all(applied) else applied.uri
        print_document({"preset": name, "written": written, "changes": changes, **told_rules})
    else:
        _print_applied(applied, dry_run)
    return OK


def _says_all(applied: "Applied") -> bool:
    """Whether the file said all of it before."""
    return all(each.status == "same" for each in applied.changes)


def _show_shipped(name: str, shipped: "ShippedPreset", as_json: bool) -> None:
    from curate_assets.settings.edit import as_yaml

    if as_json:
        print_document({"name": name, **shipped.model_dump()})
        return
    console = results()
    console.print(f"[bold]{escaped(shipped.title)}[/bold]: {escaped(shipped.about)}")
    for rule in shipped.rules:
        console.print(f"\n[bold]{escaped(rule.rule)}[/bold] [dim]{escaped(rule.source)}[/dim]")
        for path, value in rule.set.items():
            own = " [dim]our number[/dim]" if rule.number_is_ours(path) else ""
            console.print(f"  {path}: {escaped(as_yaml(value))}{own}")
        if rule.needs:
            console.print(f"  [dim]where {escaped(' and '.join(rule.needs))} are set[/dim]")
        if rule.differs:
            console.print(f"  {escaped(rule.differs)}")


def _print_applied(applied: "Applied", dry_run: bool) -> None:
    console = results()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("setting", "before", "then", "", "source"):
        table.add_column(column)
    for each in applied.changes:
        table.add_row(*_row(each))
    console.print(table)
    _print_rules("in part", applied.in_part)
    _print_rules("not reproduced", applied.not_reproduced)
    for rule in applied.left_out:
        remedy = f"set {' and '.join(rule.needs)} first, as no package ships such models"
        console.print(f"left out: {escaped(rule.rule)}: {remedy}")
    if dry_run:
        console.print("Nothing was written: leave out [bold]--dry-run[/bold] to do it.")
        return
    if _says_all(applied):
        console.print(f"{escaped(applied.uri)} says all of this already.", soft_wrap=True)
        return
    console.print(f"written to {escaped(applied.uri)}", soft_wrap=True)
    console.print("Next: [bold]curate plan[/bold] shows what that concerns, and what it costs.")


def _row(change: "Change") -> list[str]:
    from curate_assets.settings.edit import as_yaml

    before, value = (escaped(as_yaml(each)) for each in (change.before, change.value))
    status = {"added": "", "changed": "[yellow]changed[/yellow]", "same": "[dim]as it was[/dim]"}[change.status]
    return [change.setting, before, f"[bold]{value}[/bold]", status, f"[dim]{escaped(change.source)}[/dim]"]


def _print_rules(what: str, rules: "tuple[Rule, ...]") -> None:
    for rule in rules:
        results().print(f"{what}: {escaped(rule.rule)}. [dim]{escaped(rule.differs or '')}[/dim]")


preset.command(name="list")(told(list_))
for command in (show, apply):
    preset.command()(told(command))

"""`curate config`: which settings hold, what they mean, and a file to change them in."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate_cli.command import OK, ConfigFile, Json, Root, existing_root, given_settings, told
from curate_cli.printing import escaped, messages, print_document, results

if TYPE_CHECKING:
    from rich.console import Console

    from curate_assets.graph.platform import PlatformConfig
    from curate_assets.settings.catalogue import Section, Setting
    from curate_resources.storage.root import Storage

config = typer.Typer(no_args_is_help=True, help="Show which settings hold, explain them, or write a file of them.")

_Preset = Annotated[str | None, typer.Option(help="With those of a preset; see `curate preset list`.")]


def show(
    name: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="A section or a key, such as clips or clips.min_seconds.")
    ] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out keys at their default.")] = False,
    preset: _Preset = None,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Show the settings that hold, as YAML, and where each was set."""
    from curate_assets.settings.catalogue import found_settings
    from curate_assets.settings.edit import as_yaml

    chosen = found_settings(name)
    holds, setters = _settings(existing_root(root), preset, given_settings(config))
    values: dict[str, dict[str, Any]] = {}
    for section, settings in chosen:
        own = getattr(holds, section.name)
        kept = [each for each in settings if each.of(own) and (each.path in setters or not changed)]
        if kept:
            values[section.name] = {each.key: getattr(own, each.key) for each in kept}
    if as_json:
        print_document({"settings": values, "set_by": setters})
        return OK
    for section, keys in values.items():
        print(f"{section}:")
        for key, value in keys.items():
            setter = setters.get(f"{section}.{key}")
            print(f"  {key}: {as_yaml(value)}{f'  # {setter}' if setter else ''}")
    if not values:
        messages().print("Nothing is set: all defaults hold.")
    return OK


def explain(
    name: Annotated[str, typer.Argument(metavar="KEY", help="A section or a key, such as clips or clips.min_seconds.")],
    preset: _Preset = None,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Explain a setting: its type, its default, what holds, what it means and what a change recomputes."""
    from curate_assets.settings.catalogue import found_settings
    from curate_resources.storage.root import Storage, root_uri

    ((section, settings),) = found_settings(name)
    holds, setters = _settings(Storage(root_uri(root)), preset, given_settings(config))
    own = getattr(holds, section.name)
    values = [(each, getattr(own, each.key) if each.of(own) else each.default) for each in settings]
    if as_json:
        print_document([_explained(each, value, setters) for each, value in values])
        return OK
    console = results()
    if len(settings) > 1:
        console.print(f"[bold]{section.name}[/bold]: {escaped(section.meaning)}\n")
    for setting, value in values:
        setter = setters.get(setting.path) if setting.of(own) else None
        _print_setting(setting, section, value, setter, console)
    return OK


def init(root: Root = None, as_json: Json = False) -> int:
    """Write <root>/curate.yaml with every key, its default and its meaning in comments."""
    from curate_assets.graph.platform import ConfigError
    from curate_assets.settings.catalogue import commented_file
    from curate_assets.settings.resolve import CONFIG_FILE
    from curate_resources.storage.root import Storage, root_uri

    storage = Storage(root_uri(root))
    uri = storage.uri(CONFIG_FILE)
    if not storage.create(CONFIG_FILE, commented_file().encode()):
        raise ConfigError(f"{uri} exists already: edit it, or move it away first")
    if as_json:
        print_document({"written": uri})
    else:
        results().print(f"{escaped(uri)}: all keys, in comments", soft_wrap=True)
    return OK


def _settings(
    storage: "Storage", preset: str | None, given: Mapping[str, Any]
) -> "tuple[PlatformConfig, dict[str, str]]":
    """The settings that hold, and which file sets each key that is set."""
    from curate_assets.settings.catalogue import set_by
    from curate_assets.settings.presets import ShardSettings, source_preset
    from curate_assets.settings.resolve import (
        CONFIG_FILE,
        DEPLOYMENT_VARIABLE,
        deployment_config,
        own_config,
        preset_file,
        preset_settings,
    )

    holds = ShardSettings.read(storage, given).preset(preset)
    layers: dict[str, Mapping[str, Any]] = {DEPLOYMENT_VARIABLE: deployment_config(), CONFIG_FILE: own_config(storage)}
    if preset is not None:
        layers[preset_file(preset)] = source_preset(storage, preset)
    layers["--config"] = given
    bases = {name: each["preset"] for name, each in layers.items() if each.get("preset")}
    found: dict[str, Mapping[str, Any]] = {}
    for name, values in layers.items():
        if name in bases:
            found[f"preset {bases[name]}, by {name}"] = preset_settings(storage, bases[name], values)
        found[name] = values
    return holds, set_by(found)


def _explained(setting: "Setting", value: Any, setters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": setting.path,
        "type": setting.type.replace("`", ""),
        "backends": setting.backends,
        "default": setting.default,
        "value": value,
        "set_by": setters.get(setting.path, "default"),
        "meaning": setting.meaning,
        "recomputes": setting.recomputes,
    }


def _print_setting(setting: "Setting", section: "Section", value: Any, setter: str | None, console: "Console") -> None:
    from curate_assets.settings.edit import as_yaml

    now = f"   [dim]now[/dim] {escaped(as_yaml(value))} [dim]by {escaped(setter)}[/dim]" if setter else ""
    of_backends = f" [dim]with backend {' or '.join(setting.backends)}[/dim]" if setting.backends else ""
    console.print(f"[bold]{setting.path}[/bold]{of_backends}: {escaped(setting.meaning)}")
    console.print(f"  [dim]type[/dim] {escaped(setting.type.replace('`', ''))}")
    default = "none: it is needed" if setting.required else as_yaml(setting.default)
    console.print(f"  [dim]default[/dim] {escaped(default)}{now}")
    console.print(f"  [dim]a change recomputes[/dim] {_recomputed(setting, section)}")


def _recomputed(setting: "Setting", section: "Section") -> str:
    if setting.recomputes:
        return f"{', '.join(setting.recomputes)}, and what is made of the rows that come out different"
    return "nothing: it has no effect on results" if section.assets else "nothing"


for command in (show, explain, init):
    config.command()(told(command))

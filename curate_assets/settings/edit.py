"""Changing settings in `curate.yaml` or a preset, with all else in it left as it stands: comments, order, spelling."""

from collections.abc import Mapping
from typing import Any

import yaml

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import CONFIG_FILE, parse_config, validated
from curate_resources.storage.root import Storage


def write_settings(storage: Storage, section: str, settings: Mapping[str, Any], path: str = CONFIG_FILE) -> str:
    """Set keys of a section in the root's `curate.yaml` or another file below it, which is made where there is none;
    returns its URI.

    Raises:
        ConfigError: the settings are not valid, or the file is written in a way that cannot be changed in place.
    """
    uri = storage.uri(path)
    stored = storage.read(path) if storage.exists(path) else b""
    before = parse_config(stored, uri)
    text = stored.decode()
    wanted = {**before, section: {**(before.get(section) or {}), **settings}}
    validated(wanted)
    try:
        changed = with_settings(text, section, settings)
        as_wanted = yaml.safe_load(changed) == wanted
    except yaml.YAMLError:
        changed, as_wanted = text, False
    if not as_wanted:  # such as several documents, or an anchor that other sections share
        by_hand = ", ".join(f"{section}.{key}: {as_yaml(value)}" for key, value in settings.items())
        raise ConfigError(f"{uri} cannot be changed without rewriting it: set by hand {by_hand}")
    storage.write(path, changed.encode())
    return uri


def with_settings(text: str, section: str, settings: Mapping[str, Any]) -> str:
    """YAML text with keys of a section set: values are replaced where they stand, new keys come first."""
    for key, value in reversed(list(settings.items())):
        text = _with_setting(text, section, key, as_yaml(value))
    return text


def _with_setting(text: str, section: str, key: str, value: str) -> str:
    root = yaml.compose(text, yaml.SafeLoader)
    if root is None:
        return f"{_ended(text)}{section}:\n  {key}: {value}\n"
    found = _entry(root, section)
    if found is None and _flow(root):
        return _inserted(text, root.start_mark.index + 1, f"{section}: {{{key}: {value}}}", root)
    if found is None:
        return f"{_ended(text)}\n{section}:\n  {key}: {value}\n"
    name, settings = found
    if not isinstance(settings, yaml.MappingNode):  # a section without any keys: nothing at all, or a null
        start, end = settings.start_mark.index, settings.end_mark.index
        if start < end:
            return f"{text[:start]}{{{key}: {value}}}{text[end:]}"
        line = text.find("\n", name.end_mark.index)
        head, rest = (text, "") if line < 0 else (text[: line + 1], text[line + 1 :])
        return f"{_ended(head)}{' ' * (name.start_mark.column + 2)}{key}: {value}\n{rest}"
    if (setting := _entry(settings, key)) is not None:
        old = setting[1]
        return f"{text[: old.start_mark.index]}{value}{text[old.end_mark.index :]}"
    if _flow(settings):
        return _inserted(text, settings.start_mark.index + 1, f"{key}: {value}", settings)
    first = settings.value[0][0].start_mark
    line = first.index - first.column
    return f"{text[:line]}{' ' * first.column}{key}: {value}\n{text[line:]}"


def _entry(mapping: yaml.Node, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    entries = mapping.value if isinstance(mapping, yaml.MappingNode) else []
    return next(((name, value) for name, value in entries if name.value == key), None)


def _flow(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and bool(node.flow_style)


def _inserted(text: str, place: int, entry: str, mapping: yaml.Node) -> str:
    return f"{text[:place]}{entry}{', ' if mapping.value else ''}{text[place:]}"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def as_yaml(value: Any) -> str:
    """A value on one line as YAML reads it back: Python's own 1e-06 would be a text."""
    return yaml.safe_dump(value, width=10_000, default_flow_style=True).removesuffix("...\n").strip()

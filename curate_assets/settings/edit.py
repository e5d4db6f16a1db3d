"""Changing settings in `curate.yaml` or a preset, with all else in it left as it stands: comments, order, spelling."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import (
    CONFIG_FILE,
    deployment_config,
    merged,
    on_preset,
    parse_config,
    stored_config,
    validated,
)
from curate_resources.storage.root import Storage

Sections = Mapping[str, Mapping[str, Any]]

_OF_PRESET = re.compile(r"# preset [\w.-]+: .*?(?=  #|$)")
"""A comment that was written beside a value for a preset; what follows it is the user's."""


def write_settings(storage: Storage, section: str, settings: Mapping[str, Any], path: str = CONFIG_FILE) -> str:
    """Set keys of one section; see `write_sections`."""
    return write_sections(storage, {section: settings}, path)


def write_sections(
    storage: Storage,
    sections: Sections,
    path: str = CONFIG_FILE,
    comments: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> str:
    """Set keys in the root's `curate.yaml` or in a preset below the root, which is made where there is none; returns
    its URI.

    Args:
        sections: values by section and key; those that are there already keep their spelling.
        comments: by setting, such as `clips.min_seconds`, one line to stand beside its value, before a comment that
            is there. Within braces there is no room for it.
        dry_run: change nothing, and see only that it could be done.

    Raises:
        ConfigError: the settings are not valid, or the file is written in a way that cannot be changed in place.
    """
    uri = storage.uri(path)
    text = storage.read(path).decode() if storage.exists(path) else ""
    before = parse_config(text, uri)
    for name in sections:
        if not isinstance(before.get(name) or {}, dict):
            raise ConfigError(f"{uri}: {name} must be a mapping of settings")
    wanted = {**before, **{name: {**(before.get(name) or {}), **keys} for name, keys in sections.items()}}
    below = on_preset(storage, deployment_config()) if path == CONFIG_FILE else stored_config(storage)
    validated(merged(below, on_preset(storage, wanted)))
    try:
        changed = text
        for section, settings in sections.items():
            changed = with_settings(changed, section, settings, comments or {})
        as_wanted = (yaml.safe_load(changed) or {}) == wanted
    except yaml.YAMLError:
        changed, as_wanted = text, False
    if not as_wanted:  # such as several documents, or an anchor that other sections share
        by_hand = ", ".join(
            f"{name}.{key}: {as_yaml(value)}" for name, keys in sections.items() for key, value in keys.items()
        )
        raise ConfigError(f"{uri} cannot be changed without rewriting it: set by hand {by_hand}")
    if changed != text and not dry_run:
        storage.write(path, changed.encode())
    return uri


def with_settings(text: str, section: str, settings: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """YAML text with keys of a section set: values are replaced where they stand, new keys come first."""
    if any(f"{section}.{key}" in comments for key in settings):
        text = _in_lines(text, section)
    stored = (yaml.safe_load(text) or {}).get(section) or {}
    for key, value in reversed(list(settings.items())):
        if key not in stored or stored[key] != value:
            text = _with_setting(text, section, key, as_yaml(value))
        if (comment := comments.get(f"{section}.{key}")) is not None:
            text = _with_comment(text, section, key, comment)
    return text


def _in_lines(text: str, section: str) -> str:
    """A section that is a mapping in braces, maybe an empty one, with a line for each key: so comments have room."""
    root = yaml.compose(text, yaml.SafeLoader)
    found = None if root is None or _flow(root) else _entry(root, section)
    if found is None or not _flow(found[1]):
        return text
    name, settings = found
    start, end = settings.start_mark.index, settings.end_mark.index
    rest = text[end:].split("\n", 1)[0].strip()
    if "#" in text[start:end] or (rest and not rest.startswith("#")):
        return text
    indent = " " * (name.start_mark.column + 2)
    lines = [text[key.start_mark.index : value.end_mark.index] for key, value in settings.value]
    head = text[: name.end_mark.index] + text[name.end_mark.index : start].rstrip() + (f"  {rest}" if rest else "")
    return "\n".join([head, *(indent + re.sub(r"\s*\n\s*", " ", line) for line in lines)]) + _from_next_line(text, end)


def _with_comment(text: str, section: str, key: str, comment: str) -> str:
    root = yaml.compose(text, yaml.SafeLoader)
    assert root is not None
    found = _entry(root, section)
    setting = _entry(found[1], key) if found is not None else None
    if found is None or setting is None or _flow(root) or _flow(found[1]):
        return text
    end = setting[1].end_mark.index
    rest = text[end:].split("\n", 1)[0]
    there = rest.strip()
    if there and not there.startswith("#"):
        return text  # the value does not end with its line
    own = _OF_PRESET.sub("", there).strip()
    both = f"  # {comment}" + (f"  {own}" if own else "") + ("\r" if rest.endswith("\r") else "")
    return text[:end] + both + text[end + len(rest) :]


def _from_next_line(text: str, place: int) -> str:
    line = text.find("\n", place)
    return "" if line < 0 else text[line:]


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

"""What can be set: each key of the configuration with its type, its default, what it means and what it recomputes."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from curate_assets.graph.graph import Graph
from curate_assets.graph.platform import ConfigError, StageResources
from curate_assets.graphs import GRAPH
from curate_assets.settings.edit import as_yaml
from curate_assets.settings.resolve import CurationConfig
from curate_resources.suggestions import did_you_mean, meant
from gpu_kernels.strict import StrictModel

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "pattern": "matching"}


@dataclass(frozen=True)
class Setting:
    """One key.

    Attributes:
        type: what it takes, in words; choices and bounds are in backticks.
        recomputes: the assets whose rows depend on it.
    """

    section: str
    key: str
    type: str
    default: Any
    meaning: str
    recomputes: tuple[str, ...]

    @property
    def path(self) -> str:
        """As errors and the documentation call it."""
        return f"{self.section}.{self.key}"


@dataclass(frozen=True)
class Section:
    """The keys that steer one asset, or one other thing; `assets` have rows that depend on its keys."""

    name: str
    meaning: str
    assets: tuple[str, ...]
    settings: tuple[Setting, ...]


def sections(graph: Graph = GRAPH) -> list[Section]:
    """All sections, in the order of the configuration."""
    found: list[Section] = []
    for name, field in CurationConfig.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, StrictModel)):
            continue  # `preset` stands above all sections
        assets = tuple(table.name for table in graph.tables.values() if name in table.sections)
        settings = tuple(_settings(name, model, assets))
        found.append(Section(name, " ".join((model.__doc__ or "").split()), assets, settings))
    return found


def _settings(section: str, model: type[StrictModel], assets: tuple[str, ...]) -> Iterator[Setting]:
    for key, field in model.model_fields.items():
        assert field.description, f"{section}.{key} has no description"
        meaning = " ".join(field.description.split())
        recomputes = () if key in model.without_effect else assets
        yield Setting(section, key, _type(field), field.get_default(call_default_factory=True), meaning, recomputes)


def found_settings(path: str | None) -> list[tuple[Section, tuple[Setting, ...]]]:
    """The sections and keys that a path names: all, `clips`, or `clips.min_seconds`.

    Raises:
        ConfigError: there is no such section or key.
    """
    every = sections()
    if path is None:
        return [(section, section.settings) for section in every]
    for section in every:
        if path == section.name:
            return [(section, section.settings)]
        for setting in section.settings:
            if path == setting.path:
                return [(section, (setting,))]
    known = [*(section.name for section in every), *(each.path for section in every for each in section.settings)]
    same = [each for each in known if each.rpartition(".")[2] == path.rpartition(".")[2]]
    hint = meant(same) or did_you_mean(path, known) or f"; the sections are {', '.join(each.name for each in every)}"
    raise ConfigError(f"there is no setting {path!r}{hint}")


def commented_file() -> str:
    """A `curate.yaml` with every key in a comment, so that all defaults hold."""
    lines = [
        "# Settings of this root. Remove the `#` before a section and a key to change it; all else keeps its default."
    ]
    for section in sections():
        lines += ["", *_comment(section.meaning, ""), f"# {section.name}:"]
        for setting in section.settings:
            lines += [*_comment(setting.meaning, "    "), f"#   {setting.key}: {as_yaml(setting.default)}"]
    return "\n".join([*lines, ""])


def _comment(text: str, indent: str) -> list[str]:
    return [f"## {indent}{line}".rstrip() for line in fill(text, 110 - len(indent)).splitlines()]


def set_by(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """By path, which of some layers sets a key; later layers go before earlier ones."""
    return {
        f"{section}.{key}": name
        for name, values in layers.items()
        for section, keys in values.items()
        if isinstance(keys, dict)
        for key in keys
    }


def _type(field: FieldInfo) -> str:
    kind: Any = field.annotation
    nullable = ""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = [argument for argument in get_args(kind) if argument is not type(None)]
        nullable = " or `null`"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind)) + nullable
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "`true` or `false`",
        dict[str, str]: "texts by name",
        dict[str, StageResources]: "mappings by name",
    }
    limits = [
        f"{words} `{getattr(bound, name)}`"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    return ", ".join([names[kind], *limits]) + nullable

"""What can be set: each key of the configuration with its type, its default, what it means and what it recomputes."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from textwrap import fill
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from curate_assets.graph.graph import Graph
from curate_assets.graph.platform import ConfigError
from curate_assets.graphs import GRAPH
from curate_assets.settings.edit import as_yaml
from curate_assets.settings.resolve import CurationConfig
from curate_resources.suggestions import did_you_mean, meant
from gpu_kernels.backends import KEY as BACKEND
from gpu_kernels.backends import Backends, backends_of
from gpu_kernels.strict import StrictModel, descriptions

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "pattern": "matching"}


@dataclass(frozen=True)
class Setting:
    """One key.

    Attributes:
        type: what it takes, in words; choices and bounds are in backticks.
        default: None also where a value has to be given; see `required`.
        recomputes: the assets whose rows depend on it.
        backends: the backends of its section that have it; empty: all, or the section has none.
        by_default: whether the section has it where no backend is chosen.
    """

    section: str
    key: str
    type: str
    default: Any
    meaning: str
    recomputes: tuple[str, ...]
    required: bool = False
    backends: tuple[str, ...] = ()
    by_default: bool = True

    @property
    def path(self) -> str:
        """As errors and the documentation call it."""
        return f"{self.section}.{self.key}"

    def of(self, section: StrictModel) -> bool:
        """Whether a section has it, by its backend."""
        return not self.backends or getattr(section, BACKEND) in self.backends


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
        assets = tuple(table.name for table in graph.tables.values() if name in table.sections)
        if (backends := backends_of(field)) is not None:
            model, settings = backends.base, tuple(_settings_of_backends(name, backends, assets))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, StrictModel):
            model, settings = field.annotation, tuple(_settings(name, field.annotation, assets))
        else:
            continue  # `preset` stands above all sections
        found.append(Section(name, _one_line(model.__doc__), assets, settings))
    return found


def _settings(section: str, model: type[StrictModel], assets: tuple[str, ...]) -> Iterator[Setting]:
    for key, field in model.model_fields.items():
        if key == BACKEND:
            continue  # described for all of them
        assert key in descriptions(model), f"{section}.{key} has no description"
        recomputes = () if key in model.without_effect else assets
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        meaning = _one_line(descriptions(model)[key])
        yield Setting(section, key, _type(field), default, meaning, recomputes, field.is_required())


def _settings_of_backends(section: str, backends: Backends[Any], assets: tuple[str, ...]) -> Iterator[Setting]:
    """First the backend, then what all have, then what only some have: of those that have it, together."""
    names = list(backends.kinds)
    meaning = "; ".join(f"`{name}`: {_one_line(kind.__doc__).rstrip('.')}" for name, kind in backends.kinds.items())
    yield Setting(section, BACKEND, ", ".join(f"`{name}`" for name in names), names[0], f"{meaning}.", assets)
    having: dict[str, tuple[Setting, list[str]]] = {}  # a default may be a mapping, which is no key
    for name, kind in backends.kinds.items():
        for setting in _settings(section, kind, assets):
            having.setdefault(repr(setting), (setting, []))[1].append(name)
    yield from (setting for setting, those in having.values() if those == names)
    for setting, those in sorted(having.values(), key=lambda each: (-len(each[1]), [*map(names.index, each[1])])):
        if those != names:
            yield replace(setting, backends=tuple(those), by_default=names[0] in those)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


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
        if those := tuple(setting for setting in section.settings if path == setting.path):
            return [(section, those)]
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
            own = f"With backend {' or '.join(setting.backends)}: " if setting.backends else ""
            key = setting.key if setting.by_default else f"# {setting.key}"  # stays a comment where its section is used
            lines += [*_comment(f"{own}{setting.meaning}", "    "), f"#   {key}: {as_yaml(setting.default)}"]
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
    if get_origin(kind) is list and get_origin(get_args(kind)[0]) is Literal:
        return "list of " + ", ".join(f"`{choice}`" for choice in get_args(get_args(kind)[0])) + nullable
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "`true` or `false`",
        list[str]: "list of texts",
        dict[str, str]: "texts by name",
    }
    limits = [
        f"{words} `{getattr(bound, name)}`"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    return ", ".join([names.get(kind, "mappings by name"), *limits]) + nullable

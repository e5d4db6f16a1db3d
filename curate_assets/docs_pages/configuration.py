"""`docs/configuration.md`: every section and key of the configuration."""

import types
from textwrap import fill
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from curate_assets.config import CONFIG_FILE, CurationConfig
from curate_assets.presets import FOLDER, OF_THE_DATASET
from curate_assets.video.stages import TABLES
from curate_assets.video.training_dataset import TRAINING_DATASET
from gpu_kernels.strict import StrictModel

_OF_THE_DATASET = fill(", ".join(f"`{key}`" for key in OF_THE_DATASET), 110).replace("\n", "\n   ")

_HEAD = f"""\
# Configuration

Generated from `curate_assets.config` by `python -m curate_assets.docs_pages`; do not edit.

Settings come from four places. The later one wins, key by key:

1. the defaults below;
2. `<root>/{CONFIG_FILE}`, a YAML file with the sections as its keys;
3. `<root>/{FOLDER}/<preset>.yaml`, likewise, of shards with a [preset](operations.md#presets), which cannot set
   {_OF_THE_DATASET};
4. what is given for one run: the file of `curate materialize --config`, or the `curation` resource in Dagster's
   launchpad.

An unknown key and a bad value are errors that name the key. Changing a setting recomputes the rows that depend on it
and nothing else; the table of each section says which assets its keys enter. Keys marked *no effect on results* change
how a result is come by, and recompute nothing.
"""

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "pattern": "matching"}


def configuration_page() -> str:
    """The page."""
    parts = [_HEAD]
    for name, field in CurationConfig.model_fields.items():
        section = field.annotation
        assert isinstance(section, type) and issubclass(section, StrictModel)
        users = [table.name for table in (*TABLES.values(), TRAINING_DATASET) if name in table.sections]
        parts.append(_section(name, section, users))
    return "\n".join(parts)


def _section(name: str, section: type[StrictModel], users: list[str]) -> str:
    about = " ".join((section.__doc__ or "").split())
    enters = f"Its keys enter the fingerprints of {', '.join(f'`{user}`' for user in users)}." if users else ""
    lines = [
        f"## `{name}`",
        "",
        f"{about} {enters}".strip(),
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for key, field in section.model_fields.items():
        assert field.description, f"{name}.{key} has no description"
        meaning = " ".join(field.description.split())
        if key in section.without_effect:
            meaning += " *No effect on results.*"
        lines.append(f"| `{name}.{key}` | {_type(field)} | {_default(field)} | {_cell(meaning)} |")
    return "\n".join([*lines, ""])


def _type(field: FieldInfo) -> str:
    kind: Any = field.annotation
    nullable = ""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = [argument for argument in get_args(kind) if argument is not type(None)]
        nullable = " or `null`"
    if get_origin(kind) is Literal:
        return _cell(", ".join(f"`{choice}`" for choice in get_args(kind))) + nullable
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "`true` or `false`",
        dict[str, str]: "texts by name",
    }
    limits = [
        f"{words} `{getattr(bound, name)}`"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    return _cell(", ".join([names[kind], *limits])) + nullable


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    text = yaml.safe_dump(value, width=10_000).removesuffix("...\n").strip()
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

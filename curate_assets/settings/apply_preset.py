"""Writing a preset into a root's `curate.yaml`, each value with its source beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from curate_assets.settings.edit import write_sections
from curate_assets.settings.resolve import (
    CONFIG_FILE,
    is_shipped,
    merged,
    own_config,
    preset_settings,
    resolve_config,
    stored_config,
)
from curate_assets.settings.shipped_presets import Rule, shipped_presets
from curate_resources.storage.root import Storage


@dataclass(frozen=True)
class Change:
    """What becomes of one setting.

    Attributes:
        before: its value before: what `curate.yaml` says, or else what holds.
        status: `changed` and `same` are of values that `curate.yaml` has already.
    """

    setting: str
    before: Any
    value: Any
    status: Literal["added", "changed", "same"]
    source: str


@dataclass(frozen=True)
class Applied:
    """What a preset sets.

    Attributes:
        uri: the file.
        in_part: rules that set something and are not reproduced in all.
        left_out: rules that would set something, were the models named that they need.
        not_reproduced: rules that set nothing.
    """

    preset: str
    uri: str
    changes: tuple[Change, ...]
    in_part: tuple[Rule, ...] = ()
    left_out: tuple[Rule, ...] = ()
    not_reproduced: tuple[Rule, ...] = ()


def apply_preset(storage: Storage, name: str, dry_run: bool = False) -> Applied:
    """Set in the root's `curate.yaml` what a preset says.

    Raises:
        ConfigError: there is no such preset, or what comes out is not valid, or cannot be written into the file.
    """
    stored, own = stored_config(storage), own_config(storage)
    holds = merged(resolve_config(storage).model_dump(mode="json"), own)
    sections = preset_settings(storage, name, stored)
    values = {f"{section}.{key}": value for section, keys in sections.items() for key, value in (keys or {}).items()}
    rules: tuple[Rule, ...] = ()
    sources = dict.fromkeys(values, f"the preset {name} of this root")
    if is_shipped(storage, name):
        shipped = shipped_presets()[name]
        rules, sources = shipped.rules, shipped.comments(stored)
    comments = {path: f"preset {name}: {source}" for path, source in sources.items()}
    uri = write_sections(storage, sections, CONFIG_FILE, comments, dry_run)
    return Applied(
        name,
        uri,
        tuple(_change(own, holds, path, value, sources[path]) for path, value in values.items()),
        tuple(rule for rule in rules if rule.counts(stored) and rule.differs),
        tuple(rule for rule in rules if rule.set and not rule.counts(stored)),
        tuple(rule for rule in rules if not rule.set),
    )


def _change(own: Mapping[str, Any], holds: Mapping[str, Any], path: str, value: Any, source: str) -> Change:
    section, key = path.split(".")
    before = holds[section][key]
    written = key in (own.get(section) or {})
    return Change(path, before, value, "added" if not written else "same" if before == value else "changed", source)

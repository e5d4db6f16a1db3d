"""Presets that come with the platform: what papers and other pipelines reject, as settings, each with its source."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from gpu_kernels.strict import StrictModel

_FOLDER = Path(__file__).with_name("shipped")


class Rule(StrictModel):
    """One rule of a source, and what of it can be had here."""

    rule: str
    """What the source does."""
    source: str
    """Where it says so."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Values by setting, such as `clips.min_seconds`; none where it cannot be reproduced."""
    ours: bool = False
    """Whether the source gives no number, and the value is our own."""
    needs: tuple[str, ...] = ()
    """Settings that name models which no package ships: the rule counts where they are set already."""
    differs: str | None = None
    """What of it is not reproduced."""

    def number_is_ours(self, path: str) -> bool:
        """Whether the value of a setting that it sets is our own."""
        return self.ours and not isinstance(self.set[path], bool)

    def counts(self, given: Mapping[str, Any]) -> bool:
        """Whether it has values, and settings have what it needs."""
        return bool(self.set) and all(_value(given, path) is not None for path in self.needs)


def _value(settings: Mapping[str, Any], path: str) -> Any:
    section, key = path.split(".")
    found = settings.get(section)
    return found.get(key) if isinstance(found, dict) else None


class ShippedPreset(StrictModel):
    """The rules of one source."""

    title: str
    about: str
    rules: tuple[Rule, ...]

    def sections(self, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Values by section and key.

        Args:
            given: the settings that they are for, by section: what they name decides which rules count.
        """
        found: dict[str, dict[str, Any]] = {}
        for path, rule in self._entries(given):
            section, key = path.split(".")
            found.setdefault(section, {})[key] = rule.set[path]
        return found

    def comments(self, given: Mapping[str, Any]) -> dict[str, str]:
        """By setting, which rule it follows and where that stands."""
        ours = "; the number is ours"
        return {
            path: f"{rule.rule} ({self.title}, {rule.source}{ours if rule.number_is_ours(path) else ''})"
            for path, rule in self._entries(given)
        }

    def _entries(self, given: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
        for rule in self.rules:
            if rule.counts(given):
                yield from ((path, rule) for path in rule.set)


@cache
def shipped_presets() -> Mapping[str, ShippedPreset]:
    """All of them by name."""
    files = sorted(_FOLDER.glob("*.yaml"))
    return {each.stem: ShippedPreset.model_validate(yaml.safe_load(each.read_text())) for each in files}

"""Settings of single sources: `<root>/presets/<name>.yaml`, which goes before `<root>/curate.yaml` for their shards.

A shard's manifest names its preset. What concerns the shards of all sources together cannot be in one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate_assets.graph.platform import ConfigError, PlatformConfig
from curate_assets.graphs import GRAPH
from curate_assets.settings.resolve import (
    CONFIG_FILE,
    is_shipped,
    merged,
    on_preset,
    preset_file,
    preset_settings,
    stored_config,
    validated,
)
from curate_resources.sources.manifests import ManifestError, Manifests
from curate_resources.storage.root import Storage

OF_THE_DATASET: Mapping[str, str] = {
    **{asset.name: asset.same_for_all for asset in GRAPH.assets if asset.same_for_all},
    **{
        f"checks.{key}": f"{asset.name} is made of all shards at once"
        for asset in GRAPH.assets
        if asset.limits is not None and not asset.partitioned
        for key in asset.limits.model_fields
    },
    **dict.fromkeys(GRAPH.commands, "a command looks at all shards"),
    "variants": "they are assets of all shards",
    "reads": "lineage is that of all shards",
    "prices": "estimates of all shards are compared",
    "models": "one run makes shards of several sources",
    "engine": "one run makes shards of several sources",
    "cluster": "one run makes shards of several sources",
}
"""Sections and keys that no preset may have, and why."""


@dataclass(frozen=True)
class ShardSettings:
    """The settings that hold for each shard, read once: defaults, `curate.yaml`, its preset, then what is given.

    Attributes:
        given: settings of one run.
        whole: those of what concerns all shards: without any preset.
    """

    storage: Storage
    given: Mapping[str, Any]
    whole: PlatformConfig
    _presets: dict[str, PlatformConfig | ConfigError] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, storage: Storage, given: Mapping[str, Any] | None = None) -> "ShardSettings":
        """Those of a root.

        Raises:
            ConfigError: an unknown key or a bad value in `curate.yaml` or in what is given, named.
        """
        given = given or {}
        given = on_preset(storage, given)
        return cls(storage, given, validated(merged(stored_config(storage), given)))

    def of(self, shard: str) -> PlatformConfig:
        """The settings of a shard.

        Raises:
            ConfigError: its preset is not there or not valid; the message names the file and the key.
            ManifestError: there is no such shard.
        """
        return self.preset(Manifests(self.storage).load(shard).preset)

    def preset(self, name: str | None) -> PlatformConfig:
        """The settings of the shards of a preset.

        Raises:
            ConfigError: it is not there or not valid.
        """
        if name is None:
            return self.whole
        if name not in self._presets:
            try:
                self._presets[name] = self._read(name)
            except ConfigError as error:
                self._presets[name] = error
        found = self._presets[name]
        if isinstance(found, ConfigError):
            raise found
        return found

    def alike(self, shards: Sequence[str]) -> tuple[list[tuple[PlatformConfig, list[str]]], list[ConfigError]]:
        """Shards with the same settings together, in order of the first of each; and what keeps others from having
        any.

        Raises:
            ManifestError: there is no such shard.
        """
        groups: dict[int, tuple[PlatformConfig, list[str]]] = {}
        errors: dict[str, ConfigError] = {}
        for shard, manifest in zip(shards, Manifests(self.storage).load_all(shards), strict=True):
            if isinstance(manifest, ManifestError):
                raise manifest
            try:
                config = self.preset(manifest.preset)
            except ConfigError as error:
                errors.setdefault(str(error), error)
                continue
            groups.setdefault(id(config), (config, []))[1].append(shard)
        return list(groups.values()), list(errors.values())

    def _read(self, name: str) -> PlatformConfig:
        uri = self.storage.uri(preset_file(name))
        over = merged(stored_config(self.storage), source_preset(self.storage, name))
        validated(over, uri)
        return validated(merged(over, self.given), f"{uri}, with the settings of this run,")


def side_by_side(
    storage: Storage, given: Mapping[str, Any], shards: Sequence[str]
) -> list[tuple[PlatformConfig, PlatformConfig, list[str]]]:
    """The settings that hold, those that would with what is given, and the shards that have both.

    Raises:
        ConfigError: some are not valid.
        ManifestError: there is no such shard.
    """
    found: list[tuple[PlatformConfig, PlatformConfig, list[str]]] = []
    now, then = ShardSettings.read(storage), ShardSettings.read(storage, given)
    for settings in (now, then):
        for error in settings.alike(shards)[1]:
            raise error
    for config, alike in now.alike(shards)[0]:
        found += [(config, other, some) for other, some in then.alike(alike)[0]]
    return found


def source_preset(storage: Storage, name: str) -> dict[str, Any]:
    """What a preset sets for the sources that have it. One that comes with the platform may say more.

    Raises:
        ConfigError: there is none, or it sets what concerns all shards.
    """
    values, uri = preset_settings(storage, name, stored_config(storage)), storage.uri(preset_file(name))
    wrong = _of_the_dataset(values)
    if is_shipped(storage, name):
        return {section: keys for section, keys in values.items() if section not in wrong}
    if wrong:
        raise ConfigError(
            f"{uri} cannot set what concerns all shards; set it in {storage.uri(CONFIG_FILE)}:\n  "
            + "\n  ".join(f"{key}: {OF_THE_DATASET[key]}" for key in wrong)
        )
    return values


def shards_with(storage: Storage, preset: str | None) -> set[str]:
    """The shards that have a preset; None: those that have none."""
    manifests = Manifests(storage)
    found = manifests.load_all(manifests.shards())
    return {each.shard for each in found if not isinstance(each, ManifestError) and each.preset == preset}


def _of_the_dataset(values: Mapping[str, Any]) -> Sequence[str]:
    below = {f"{section}.{key}" for section, keys in values.items() if isinstance(keys, dict) for key in keys}
    return [key for key in OF_THE_DATASET if key in values or key in below]


def preset_errors(storage: Storage, names: Iterable[str]) -> list[ConfigError]:
    """What is wrong with presets, or with the configuration that they go before."""
    try:
        settings = ShardSettings.read(storage)
    except ConfigError as error:
        return [error]
    found: list[ConfigError] = []
    for name in sorted(set(names)):
        try:
            settings.preset(name)
        except ConfigError as error:
            found.append(error)
    return found

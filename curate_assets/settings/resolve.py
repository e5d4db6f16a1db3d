"""The whole configuration: one strict schema for the UI, the command line and `curate.yaml`.

Each section is defined beside the code that it steers, with its defaults and what they mean; here they come together.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from curate_assets.graph.platform import ConfigError, PlatformConfig
from curate_assets.graph.root_graph import CONFIG_FILE, VARIABLE
from curate_assets.graphs import CHOICE, GRAPH, CurationConfig
from curate_assets.settings.shipped_presets import shipped_presets
from curate_resources.storage.root import Storage
from curate_resources.suggestions import did_you_mean, wrong_settings
from gpu_kernels.backends import KEY as BACKEND
from gpu_kernels.backends import backends_of

DEPLOYMENT_VARIABLE = "CURATE_CONFIG"
"""Names a file with the settings of this deployment, such as its cluster; `<root>/curate.yaml` goes before it."""
PRESETS_FOLDER = "presets"


def resolve_config(storage: Storage, given: dict[str, Any] | None = None) -> PlatformConfig:
    """The configuration that holds: defaults, the deployment's file, `<root>/curate.yaml`, then what was given.

    Raises:
        ConfigError: an unknown key or a bad value, named.
    """
    return validated(merged(stored_config(storage), on_preset(storage, given or {})))


def stored_config(storage: Storage) -> dict[str, Any]:
    """What the deployment's file says, and before that `<root>/curate.yaml`; each on the preset that it names.

    Raises:
        ConfigError: one of them is not a mapping of sections, or names a preset that is not there.
    """
    return merged(on_preset(storage, deployment_config()), on_preset(storage, own_config(storage)))


def deployment_config() -> dict[str, Any]:
    """What the file that `CURATE_CONFIG` names says itself; nothing where it names none.

    Raises:
        ConfigError: it cannot be read, or is not a mapping of sections.
    """
    path = os.environ.get(DEPLOYMENT_VARIABLE)
    if not path:
        return {}
    try:
        return parse_config(Path(path).read_bytes(), path)
    except OSError as error:
        raise ConfigError(f"{DEPLOYMENT_VARIABLE} names {path}, which cannot be read: {error.strerror}") from error


def own_config(storage: Storage) -> dict[str, Any]:
    """What `<root>/curate.yaml` says itself; nothing where there is none.

    Raises:
        ConfigError: it is not a mapping of sections.
    """
    if not storage.exists(CONFIG_FILE):
        return {}
    return parse_config(storage.read(CONFIG_FILE), storage.uri(CONFIG_FILE))


def on_preset(storage: Storage, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, with those of the preset that they name where they say nothing.

    Raises:
        ConfigError: there is no such preset, or it is not a mapping of sections.
    """
    name = settings.get("preset")
    return merged(preset_settings(storage, str(name), settings) if name is not None else {}, settings)


def preset_settings(storage: Storage, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset says: `<root>/presets/<name>.yaml`, else the one of that name that comes with the platform.

    Args:
        given: the settings that it is for; one that comes with the platform has rules that need models to be named.

    Raises:
        ConfigError: there is none, or it is not a mapping of sections, or it names another preset.
    """
    path = preset_file(name)
    uri = storage.uri(path)
    if storage.exists(path):
        values = parse_config(storage.read(path), uri)
    elif is_shipped(storage, name):
        return shipped_presets()[name].sections(given)
    else:
        known = [*shipped_presets(), *presets(storage)]
        hint = did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}, or write {uri}"
        raise ConfigError(f"there is no preset {name!r} under {storage.root}{hint}")
    if "preset" in values:
        raise ConfigError(f"{uri} cannot name a preset: it is one")
    return values


def is_shipped(storage: Storage, name: str) -> bool:
    """Whether a preset comes with the platform: a file of its name under the root goes before it."""
    return name in shipped_presets() and not storage.exists(preset_file(name))


def preset_file(name: str) -> str:
    """Where a preset lies, below the root."""
    return f"{PRESETS_FOLDER}/{name}.yaml"


def presets(storage: Storage) -> list[str]:
    """The names of the presets that lie under a root."""
    return [name.removesuffix(".yaml") for name in storage.files(PRESETS_FOLDER) if name.endswith(".yaml")]


def parse_config(text: str | bytes, name: str) -> dict[str, Any]:
    """YAML (or JSON) text as a mapping of sections.

    Raises:
        ConfigError: it is no such mapping.
    """
    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a mapping of sections such as `clips:`")
    return value


def validated(values: Mapping[str, Any], name: str = "the configuration") -> PlatformConfig:
    """A configuration from plain values; `name` is what errors call it.

    Raises:
        ConfigError: with one line per key that is wrong.
    """
    if values.get("graph") not in (None, GRAPH.name):
        raise ConfigError(
            f"{name} is for the graph {values['graph']!r}, and this process runs {GRAPH.name!r}: unset {VARIABLE}, "
            "or give it the same name"
        )
    if any(
        values.get(key) not in (None, {}, chosen)
        for key, chosen in zip(("variants", "reads"), CHOICE.several, strict=True)
    ):
        raise ConfigError(
            f"{name} has other `variants` or `reads` than this process runs: they belong in <root>/{CONFIG_FILE}, "
            "and hold once it is started again (in the UI: the code location reloaded)"
        )
    try:
        return CurationConfig.model_validate(values)
    except ValidationError as error:
        lines = "\n  ".join(wrong_settings(error, CurationConfig))
        raise ConfigError(f"{name} is not valid:\n  {lines}") from None  # pydantic's own text repeats secrets


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which those of `over` go before those of `base`, key by key.

    Where `over` names another backend of a section, the keys of `base` that only the former one has are left out.
    """
    both = dict(base)
    for name, settings in over.items():
        below = both.get(name)
        if isinstance(below, dict) and isinstance(settings, dict):
            both[name] = _merged(_without_other_backends(name, below, settings), settings)
        else:
            both[name] = settings
    return both


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in over.items():
        below = both.get(key)
        both[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _without_other_backends(section: str, base: Mapping[str, Any], over: Mapping[str, Any]) -> Mapping[str, Any]:
    field = CurationConfig.model_fields.get(section)
    backends = backends_of(field) if field is not None else None
    if backends is None or BACKEND not in over:
        return base
    former, chosen = (backends.kinds.get(each.get(BACKEND, next(iter(backends.kinds)))) for each in (base, over))
    if former is None or chosen is None or former is chosen:
        return base
    own = former.model_fields.keys() - chosen.model_fields.keys()
    return {key: value for key, value in base.items() if key not in own}

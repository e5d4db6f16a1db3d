"""The files of settings: the storage settings of this machine, the root's configuration, and the watched sources."""

import os

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok
from curate_assets.settings.presets import preset_errors
from curate_assets.settings.resolve import CONFIG_FILE, DEPLOYMENT_VARIABLE, PRESETS_FOLDER, presets
from curate_resources.sources.declared import SOURCES_FILE, declared_sources
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.profiles import VARIABLE, storage_settings

_MOST_SHARDS = 500
_PRESETS_ARE = "`curate docs operations` says what may be in it"


def storage(_: Deployment) -> Finding:
    """The storage settings can be read; an error names every key that is wrong."""
    profiles = storage_settings().profiles
    if not profiles:
        return ok("no profiles: buckets are reached as the environment says")
    patterns = [f"{name} for {' '.join(profile.uris)}" for name, profile in profiles.items()]
    return ok(f"{len(profiles)} profiles: {', '.join(patterns)}")


def configuration(deployment: Deployment) -> Finding:
    """The configuration is valid; an error names every key that is wrong."""
    said = sorted(deployment.config.model_fields_set)
    files = f"{os.environ[DEPLOYMENT_VARIABLE]} or {CONFIG_FILE}" if DEPLOYMENT_VARIABLE in os.environ else CONFIG_FILE
    return ok(f"{files} sets {', '.join(said)}" if said else f"all defaults; there is no {files}")


def preset_files(deployment: Deployment) -> Finding:
    """Every preset that is there, or that a source or one of the first shards names, is valid."""
    manifests = Manifests(deployment.storage)
    named = [source.preset for source in declared_sources(deployment.storage).sources.values()]
    named += [manifests.load(shard).preset for shard in manifests.shards()[:_MOST_SHARDS]]
    names = {*presets(deployment.storage), *filter(None, named)}
    if errors := preset_errors(deployment.storage, names):
        return failed("; ".join(map(str, errors)), f"fix the file that is named: {_PRESETS_ARE}")
    return ok(", ".join(sorted(names)) or "none")


def watched(deployment: Deployment) -> Finding:
    """The declaration of watched sources is valid; an error names every key that is wrong."""
    declared = declared_sources(deployment.storage).sources
    if not declared:
        return ok(f"none; there is no {SOURCES_FILE}")
    return ok(", ".join(f"{name} at {source.uri}" for name, source in declared.items()))


STORAGE = Check("storage settings", storage, f"fix the file that {VARIABLE} names: `curate docs storage`")
CONFIGURATION = Check(
    "configuration",
    configuration,
    f"fix <root>/{CONFIG_FILE} or the file of {DEPLOYMENT_VARIABLE}: `curate docs configuration` has every key",
    needs=("root",),
)
PRESETS = Check(
    "presets",
    preset_files,
    f"fix the files in <root>/{PRESETS_FOLDER}: {_PRESETS_ARE}",
    needs=("configuration", "watched sources"),
)
WATCHED = Check(
    "watched sources",
    watched,
    f"fix <root>/{SOURCES_FILE}, or the file that CURATE_SOURCES names",
    needs=("root",),
)

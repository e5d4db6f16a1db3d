"""The two files of settings: the storage settings of this machine, and the root's configuration."""

from curate_assets.config import CONFIG_FILE
from curate_assets.doctor.check import Check, Deployment, Finding, ok
from curate_resources.storage_profiles import VARIABLE, storage_settings


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
    return ok(f"{CONFIG_FILE} sets {', '.join(said)}" if said else f"all defaults; there is no {CONFIG_FILE}")


STORAGE = Check("storage settings", storage, f"mend the file that {VARIABLE} names: docs/storage.md")
CONFIGURATION = Check(
    "configuration",
    configuration,
    f"mend <root>/{CONFIG_FILE}: docs/configuration.md has every key",
    needs=("root",),
)

"""Whether a deployment is fit to run: every check of `curate doctor`, in the order in which they are gone through."""

from curate_assets.doctor import (
    clusters,
    codecs,
    dagster_state,
    decoding_child,
    event_queues,
    installation,
    models,
    namespace,
    root,
    scratch_folder,
    settings,
    sources,
    stored_tables,
)

CHECKS = (
    settings.STORAGE,
    *root.CHECKS,
    settings.CONFIGURATION,
    settings.WATCHED,
    settings.PRESETS,
    *installation.CHECKS,
    *codecs.CHECKS,
    *decoding_child.CHECKS,
    *models.CHECKS,
    *scratch_folder.CHECKS,
    *sources.CHECKS,
    *event_queues.CHECKS,
    *clusters.CHECKS,
    *dagster_state.CHECKS,
    *stored_tables.CHECKS,
)

DEPLOYMENT_CHECKS = (settings.STORAGE, *root.CHECKS[:1], settings.CONFIGURATION, *namespace.CHECKS)
PROBES = namespace.PROBES

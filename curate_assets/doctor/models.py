"""The models that the configuration and presets name: whether their weights are there and the ones asked for."""

from collections.abc import Sequence
from itertools import product

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graphs import GRAPH
from gpu_kernels.errors import CurateError
from gpu_kernels.models.files import is_hub_id
from gpu_kernels.models.hub import described
from gpu_kernels.models.registry import changed_in_package, registered
from gpu_kernels.models.resolve import missing
from gpu_kernels.models.section import ModelSection, Server, Wanted
from gpu_kernels.models.store import ModelStore

_REMEDY = "put the folder that is named where the configuration says, or change the setting: `curate docs models`"
_DOWNLOAD = "`curate models download` fetches them where there is a network or a mirror"
_SERVER_SECONDS = 10


def weights(deployment: Deployment) -> Finding:
    """Every table's model is identified as a run would do it, and every file is what the registry or its store says."""
    found: dict[str, None] = {}
    wrong: dict[str, None] = {}
    for table, config in product(GRAPH.tables.values(), deployment.configs):
        if table.model is None:
            continue
        try:
            name, revision = table.model(config)
        except (CurateError, ImportError, OSError) as error:
            wrong[f"{table.name}: {error}"] = None
            continue
        if name != "none":
            found[f"{table.name} by {name} {revision[:16]}"] = None
    if wrong:
        return failed("; ".join(wrong), _REMEDY)
    wanted = _wanted(deployment.configs)
    if changed := [problem for each in wanted for problem in _changed(each)]:
        return failed("; ".join(changed), "install the package again, or `curate models download NAME --again`")
    absent = dict.fromkeys(key for each in wanted if (key := missing(each)) is not None)
    if absent:
        said = f"not on this machine: {', '.join(f'{name} {revision[:12]}' for name, revision in absent)}"
        config = deployment.config
        if config.models.fetch:
            return warning(said, f"the first run fetches them; {_DOWNLOAD}")
        if config.cluster.mode != "local":
            return warning(said, f"every machine of the cluster needs them: {_DOWNLOAD}, or set models.fetch to true")
        return failed(said, f"{_DOWNLOAD}, or set models.fetch to true")
    return ok(", ".join(found) or "no models are named")


def servers(deployment: Deployment) -> Finding:
    """The hub has the commits that are named, and model servers answer; asked only with --network."""
    asked = [each for each in _wanted(deployment.configs) if is_hub_id(each.model)]
    endpoints = _servers(deployment.configs)
    if not asked and not endpoints:
        return ok("no model comes from a hub or a server")
    if not deployment.network:
        return ok("not asked: `curate doctor --network` does")
    for each in asked:
        described(each.model, each.revision)
    for server in endpoints:
        import requests

        answer = requests.get(
            f"{server.url.rstrip('/')}/models", headers=server.headers(), timeout=_SERVER_SECONDS, allow_redirects=False
        )
        if answer.status_code != 200:
            return failed(
                f"{server.url} answers {answer.status_code}", f"check the endpoint, and the key in {server.key_from}"
            )
    names = (f"{each.model} {(each.revision or '')[:12]}" for each in asked)
    return ok(", ".join([*names, *(server.url for server in endpoints)]))


def _wanted(configs: Sequence[PlatformConfig]) -> list[Wanted]:
    return list(dict.fromkeys(each for section in _sections(configs) for each in section.models()))


def _servers(configs: Sequence[PlatformConfig]) -> list[Server]:
    return list(dict.fromkeys(each for section in _sections(configs) for each in section.servers()))


def _sections(configs: Sequence[PlatformConfig]) -> list[ModelSection]:
    return [section for config in configs for _, section in config if isinstance(section, ModelSection)]


def _changed(wanted: Wanted) -> list[str]:
    """What of a model is not as it was registered or fetched."""
    known = registered().get(wanted.model)
    if known is not None and known.source == "package":
        changed = changed_in_package(known)
        return [] if not changed else [f"{known.package} ships other weights of {known.name} than the registered ones"]
    if wanted.revision is None or (kept := ModelStore.here().find(wanted.model, wanted.revision)) is None:
        return []
    return [f"{kept.name}: {problem}" for problem in ModelStore.here().wrong(kept)]


CHECKS = (
    Check("models", weights, _REMEDY, needs=("configuration",), seconds=600),  # weights are hashed
    Check(
        "model servers",
        servers,
        "check the network, HF_TOKEN, the endpoints, and the commits in the configuration",
        needs=("configuration",),
    ),
)

"""The models that the configuration and presets name: whether their weights are there and the ones asked for."""

import os
from collections.abc import Sequence
from itertools import product

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graphs import GRAPH
from gpu_kernels.captioners.openai import ServedCaptionsConfig
from gpu_kernels.captioners.transformers_qwen import QwenCaptionsConfig
from gpu_kernels.captioners.types import CaptionsConfig
from gpu_kernels.embedders.clip_siglip import ImageTowerConfig
from gpu_kernels.embedders.types import ClipEmbeddingsConfig
from gpu_kernels.errors import CurateError
from gpu_kernels.models.files import is_hub_id

_REMEDY = "put the folder that is named where the configuration says, or change the setting: `curate docs models`"
_HUB_SECONDS = 10


def weights(deployment: Deployment) -> Finding:
    """Every table's model is identified as a run would do it, by its files' content or its commit."""
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
    absent = [
        f"{model} {revision[:12]}" for model, revision in _of_hub(deployment.configs) if not _fetched(model, revision)
    ]
    if absent:
        return warning(
            f"not on this machine yet: {', '.join(absent)}",
            "fetch them where there is a network, or let the first run do it; `curate doctor --network` asks the hub",
        )
    return ok(", ".join(found) or "no models are named")


def servers(deployment: Deployment) -> Finding:
    """The hub has the commits that are named, and the captioning server answers; asked only with --network."""
    sections = [config.section("captions", CaptionsConfig) for config in deployment.configs]
    asked = _of_hub(deployment.configs)
    endpoints = {each.endpoint: each.api_key_env for each in sections if isinstance(each, ServedCaptionsConfig)}
    if not asked and not endpoints:
        return ok("no model comes from a hub or a server")
    if not deployment.network:
        return ok("not asked: `curate doctor --network` does")
    for model, revision in asked:
        from huggingface_hub import HfApi

        HfApi().model_info(model, revision=revision, timeout=_HUB_SECONDS)
    for endpoint, variable in endpoints.items():
        import requests

        key = os.environ.get(variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = requests.get(f"{endpoint.rstrip('/')}/models", headers=headers, timeout=_HUB_SECONDS)
        if answer.status_code != 200:
            return failed(
                f"{endpoint} answers {answer.status_code}",
                f"check captions.endpoint, and the key in {variable}",
            )
    return ok(", ".join([*(f"{model} {revision[:12]}" for model, revision in asked), *endpoints]))


def _of_hub(configs: Sequence[PlatformConfig]) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for config in configs:
        embeddings = config.section("clip_embeddings", ClipEmbeddingsConfig)
        captions = config.section("captions", CaptionsConfig)
        for section in (embeddings, captions):
            kept = isinstance(section, (ImageTowerConfig, QwenCaptionsConfig))
            if kept and section.revision and is_hub_id(section.model):
                found[section.model, section.revision] = None
    return list(found)


def _fetched(model: str, revision: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str)


CHECKS = (
    Check("models", weights, _REMEDY, needs=("configuration",), seconds=600),  # a folder's weights are hashed
    Check(
        "model servers",
        servers,
        "check the network, the hub's token, captions.endpoint, and the commit in the configuration",
        needs=("configuration",),
    ),
)

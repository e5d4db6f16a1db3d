"""The models that the configuration names: whether their weights are there and the ones that are asked for."""

import os

from curate_assets.config import CurationConfig
from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.video.stages import TABLES
from gpu_kernels.model_files import is_hub_id

_REMEDY = "put the folder that is named where the configuration says, or change the setting: docs/models.md"
_HUB_SECONDS = 10


def weights(deployment: Deployment) -> Finding:
    """Every table's model is identified as a run would do it, by its files' content or its commit."""
    config = deployment.config
    found: list[str] = []
    wrong: list[str] = []
    for table in TABLES.values():
        if table.model is None:
            continue
        try:
            name, revision = table.model(config)
        except (ImportError, OSError, ValueError) as error:
            wrong.append(f"{table.name}: {error}")
            continue
        if name != "none":
            found.append(f"{table.name} by {name} {revision[:16]}")
    if wrong:
        return failed("; ".join(wrong), _REMEDY)
    absent = [f"{model} {revision[:12]}" for model, revision in _of_hub(config) if not _fetched(model, revision)]
    if absent:
        return warning(
            f"not on this machine yet: {', '.join(absent)}",
            "fetch them where there is a network, or let the first run do it; `curate doctor --network` asks the hub",
        )
    return ok(", ".join(found) or "no models are named")


def servers(deployment: Deployment) -> Finding:
    """The hub has the commits that are named, and the captioning server answers; asked only with --network."""
    config = deployment.config
    asked = _of_hub(config)
    endpoint = config.captions.endpoint if config.captions.backend == "openai" else None
    if not asked and endpoint is None:
        return ok("no model comes from a hub or a server")
    if not deployment.network:
        return ok("not asked: `curate doctor --network` does")
    for model, revision in asked:
        from huggingface_hub import HfApi

        HfApi().model_info(model, revision=revision, timeout=_HUB_SECONDS)
    if endpoint is not None:
        import requests

        key = os.environ.get(config.captions.api_key_env)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = requests.get(f"{endpoint.rstrip('/')}/models", headers=headers, timeout=_HUB_SECONDS)
        if answer.status_code != 200:
            return failed(
                f"{endpoint} answers {answer.status_code}",
                f"check captions.endpoint, and the key in {config.captions.api_key_env}",
            )
    return ok(
        ", ".join([*(f"{model} {revision[:12]}" for model, revision in asked), *([endpoint] if endpoint else [])])
    )


def _of_hub(config: CurationConfig) -> list[tuple[str, str]]:
    local = (config.clip_embeddings.backend != "efficientnet_lite0", config.captions.backend == "transformers")
    named = [
        (section.model, section.revision)
        for section, used in zip((config.clip_embeddings, config.captions), local, strict=True)
        if used
    ]
    return [(model, revision) for model, revision in named if model and revision and is_hub_id(model)]


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

"""The captioner that a configuration names."""

from gpu_kernels.captioners.openai import OpenAICaptioner
from gpu_kernels.captioners.transformers_qwen import QwenCaptioner
from gpu_kernels.captioners.types import Captioner, CaptionsConfig
from gpu_kernels.models.files import pinned_model


def model_identity(config: CaptionsConfig) -> tuple[str, str]:
    """(model, revision) that `load_captioner` would report, without loading the model or asking the server; for
    backend none, ("none", "none"). A server without a `revision` label has "endpoint".

    Raises:
        FileNotFoundError, ValueError: a transformers model is not there or not pinned as asked.
    """
    if config.backend == "none":
        return "none", "none"
    assert config.model is not None
    if config.backend == "openai":
        return config.model, config.revision or "endpoint"
    return pinned_model(config.model, config.revision)


def load_captioner(config: CaptionsConfig) -> Captioner:
    """The captioner that `config` names; for transformers, with its weights loaded.

    Raises:
        FileNotFoundError, ValueError: as `model_identity`; backend none; or the model is not a whole Qwen2.5-VL.
    """
    if config.backend == "none":
        raise ValueError("captions are off: the captions backend is none")
    model, revision = model_identity(config)
    if config.backend == "openai":
        return OpenAICaptioner(config, model, revision)
    return QwenCaptioner(config, model, revision)

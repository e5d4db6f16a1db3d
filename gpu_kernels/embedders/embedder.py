"""The embedder that a configuration names."""

from gpu_kernels.embedders.clip_siglip import image_tower
from gpu_kernels.embedders.efficientnet import efficientnet_lite0, packaged_weights
from gpu_kernels.embedders.types import ClipEmbeddingsConfig, Embedder
from gpu_kernels.models.files import file_digest, pinned_model, torch_device


def model_identity(config: ClipEmbeddingsConfig) -> tuple[str, str]:
    """(name, revision) that `load_embedder` would report, without importing torch.

    The revision is the start of a SHA-256 over the weights (packaged weights) or over the folder's weight and
    configuration files, or the hub commit as given.

    Raises:
        ImportError, FileNotFoundError, ValueError: the weights are not installed, not there, or not pinned as asked.
    """
    if config.backend == "efficientnet_lite0":
        return config.backend, file_digest(packaged_weights())[:16]
    assert config.model is not None
    return pinned_model(config.model, config.revision)


def load_embedder(config: ClipEmbeddingsConfig) -> Embedder:
    """Load the network that `config` names onto its device. Weights are read as tensors only, never unpickled.

    Raises:
        ImportError, FileNotFoundError, ValueError: as `model_identity`; or the files do not hold the whole network.
    """
    name, revision = model_identity(config)
    device = torch_device(config.device)
    if config.backend == "efficientnet_lite0":
        return efficientnet_lite0(name, revision, device)
    return image_tower(config, name, revision, device)

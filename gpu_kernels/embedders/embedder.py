"""The embedders that there are."""

from gpu_kernels.backends import Backends
from gpu_kernels.embedders.clip_siglip import ClipConfig, SiglipConfig
from gpu_kernels.embedders.efficientnet import EfficientNetLite0Config
from gpu_kernels.embedders.types import ClipEmbeddingsConfig

EMBEDDERS = Backends(ClipEmbeddingsConfig, (EfficientNetLite0Config, ClipConfig, SiglipConfig), "curate.embedders")

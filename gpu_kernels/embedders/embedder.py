"""The embedders that there are."""

from gpu_kernels.backends import Backends
from gpu_kernels.embedders.clip_siglip import ClipConfig, SiglipConfig
from gpu_kernels.embedders.cosmos_embed1 import CosmosEmbed1Config
from gpu_kernels.embedders.dinov3 import Dinov3Config
from gpu_kernels.embedders.efficientnet import EfficientNetLite0Config
from gpu_kernels.embedders.internvideo2 import InternVideo2Config
from gpu_kernels.embedders.served import ServedEmbeddingsConfig
from gpu_kernels.embedders.types import ClipEmbeddingsConfig

EMBEDDERS = Backends(
    ClipEmbeddingsConfig,
    (
        *(EfficientNetLite0Config, ClipConfig, SiglipConfig, Dinov3Config),
        *(InternVideo2Config, CosmosEmbed1Config, ServedEmbeddingsConfig),
    ),
    "curate.embedders",
)

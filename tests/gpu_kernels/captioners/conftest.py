"""Windows of small pictures to be captioned, and a tiny model that can."""

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from gpu_kernels.captioners.types import CaptionRequest


def _jpeg(seed: int, width: int = 160, height: int = 96) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """`jpeg(seed, width, height)` is a smooth random picture."""
    return _jpeg


@pytest.fixture(scope="session")
def window() -> Callable[..., CaptionRequest]:
    """`window(1, 2, width=80)` has a picture for each seed, half a second apart."""

    def of_seeds(*seeds: int, **size: int) -> CaptionRequest:
        return CaptionRequest([_jpeg(seed, **size) for seed in seeds], [0.5 * k for k in range(len(seeds))])

    return of_seeds


@pytest.fixture(scope="session")
def qwen_folder(tiny_models: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Qwen2.5-VL."""
    return tiny_models.tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny-qwen")

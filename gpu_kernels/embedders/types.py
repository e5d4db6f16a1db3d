"""What every backend gives: one unit vector per frame; a clip's vector is the unit mean of its frames'."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import numpy as np
from pydantic import model_validator

from gpu_kernels.models.files import check_hub_pin
from gpu_kernels.strict import StrictModel


class ClipEmbeddingsConfig(StrictModel):
    """Which network embeds the frames of a clip."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"device"})

    backend: Literal["efficientnet_lite0", "clip", "siglip"] = "efficientnet_lite0"
    """`efficientnet_lite0`: ImageNet features from weights that ship in a package, 1280 numbers, runs offline on a
    CPU, good for near-duplicates. `clip` and `siglip`: the image tower of `model`, for meaning."""
    model: str | None = None
    """A folder in the transformers format (config, preprocessor, safetensors), or a hub id `owner/name`. Needed by
    `clip` and `siglip` only."""
    revision: str | None = None
    """Commit (40 hexadecimal digits) of a hub id, needed with one. With a folder it is optional and pins the folder's
    content: the 16 digits that loading would report."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; `auto` is a GPU if torch sees one."""

    @model_validator(mode="after")
    def _model_fits_backend(self) -> "ClipEmbeddingsConfig":
        if self.backend == "efficientnet_lite0":
            if self.model is not None or self.revision is not None:
                raise ValueError("efficientnet_lite0 has packaged weights: leave `model` and `revision` out")
        elif self.model is None:
            raise ValueError(f"backend {self.backend} needs `model`: a folder or a hub id `owner/name`")
        else:
            check_hub_pin(self.model, self.revision)
        return self


class Embedder(Protocol):
    """A loaded network that embeds frames."""

    @property
    def name(self) -> str:
        """The model's name, part of an embedding's identity."""
        ...

    @property
    def revision(self) -> str:
        """What pins the weights: a content hash or a hub commit."""
        ...

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        ...

    def embed(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Float32 [n, d] of unit rows, one per frame; frames are uint8 RGB [H, W, 3], of any sizes.

        A row depends on its own frame only, bit for bit, given the same device and number of torch threads.

        Raises:
            ValueError: a frame has another shape or dtype, or the network's output is zero or not finite.
        """
        ...


def clip_vector(frame_vectors: np.ndarray) -> np.ndarray:
    """Unit-length mean, float32 [d], of a clip's frame vectors [n, d].

    Raises:
        ValueError: there is no frame, or the mean is zero or not finite, so it has no direction.
    """
    vectors = np.asarray(frame_vectors, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"a clip vector needs at least one frame vector, got shape {vectors.shape}")
    return unit_rows(vectors.mean(axis=0, keepdims=True))[0]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows [n, d] scaled to unit length, float32.

    Raises:
        ValueError: a row is zero or not finite.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-9).any():
        raise ValueError("a vector is zero or not finite and cannot be scaled to unit length")
    return (rows / lengths).astype(np.float32)

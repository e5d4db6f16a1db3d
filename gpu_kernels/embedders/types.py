"""What every backend gives: one unit vector per frame; a clip's vector is the unit mean of its frames'."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from gpu_kernels.models.files import Device
from gpu_kernels.models.section import ModelSection


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


class ClipEmbeddingsConfig(ModelSection, ABC):
    """Which network embeds the frames of a clip."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"device"})
    knows_words: ClassVar[bool] = False
    """Whether the embedder that `load` gives puts words among pictures, with a method `embed_text`."""

    device: Device = "auto"
    """Where the network runs; `auto` is a GPU if torch sees one."""

    def settings(self) -> dict[str, Any]:
        """With null for the keys of other backends: rows that were stored when all had them keep their fingerprints."""
        return {"model": None, "revision": None, **super().settings()}

    @abstractmethod
    def identity(self) -> tuple[str, str]:
        """(name, revision) of the embedder that `load` gives, found without torch.

        Raises:
            ImportError, FileNotFoundError, ValueError: the weights are not installed, not there, or not pinned.
        """

    @abstractmethod
    def load(self) -> Embedder:
        """The network, on its device. Weights are read as tensors only, never unpickled.

        Raises:
            ImportError, FileNotFoundError, ValueError: as `identity`; or the files do not hold the whole network.
        """


def check_frames(frames: Sequence[np.ndarray]) -> None:
    """Sees that frames are pictures.

    Raises:
        ValueError: one is not uint8 [H, W, 3].
    """
    for frame in frames:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
            raise ValueError(f"frames must be uint8 [H, W, 3], got {frame.dtype} {frame.shape}")


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

"""What every backend gives. A model of pictures: one unit vector per frame, whose unit mean is the clip's. A model of
videos: one unit vector per clip, from several of its frames at once. Some have a text side, too."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from gpu_kernels.errors import UserError
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


@runtime_checkable
class ClipEmbedder(Protocol):
    """A loaded network that embeds a clip as a whole.

    Attributes:
        name, revision: as of an `Embedder`.
        frames: that it takes of a clip, by `stepped`; None: all that it is given.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    @property
    def frames(self) -> int | None: ...

    def embed_clip(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """A unit vector, float32 [d], of at least one frame in order, uint8 RGB [H, W, 3]; one frame is a picture.

        It depends on these frames only, given the same device and number of torch threads. Where frames differ in size,
        each is scaled by itself.

        Raises:
            ValueError: there is no frame, one has another shape or dtype, or the output is zero or not finite.
        """
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """The text side of a model, whose vectors are compared with those of its pictures and clips.

    Attributes:
        name, revision: as of an `Embedder`.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [n, d] of unit rows, one per text, each depending on its own text only. What is too long is cut."""
        ...


@runtime_checkable
class Closing(Protocol):
    """An embedder that has something to let go of."""

    def close(self) -> None:
        """Let go of it; requests that are still out may fail."""
        ...


class ClipEmbeddingsConfig(ModelSection, ABC):
    """Which network embeds clips."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"device"})

    knows_words: ClassVar[bool] = False
    """Whether there is a text side, so that words can be looked for: `load_text` gives it."""

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

    @property
    def at_once(self) -> int:
        """Clips that keep it busy."""
        return 1

    @abstractmethod
    def load(self) -> Embedder | ClipEmbedder:
        """The network for pictures or clips, on its device. Weights are read as tensors only, never unpickled.

        Raises:
            ImportError, FileNotFoundError, ValueError: as `identity`; or the files do not hold the whole network.
        """

    def load_text(self) -> TextEmbedder:
        """The text side alone, on its device.

        Raises:
            UserError: there is none; ask `knows_words` first.
            ImportError, FileNotFoundError, ValueError: as `load`.
        """
        backend = type(self).model_fields["backend"].default
        raise UserError(
            f"clip_embeddings.backend {backend} has no text side, so words cannot be compared with its vectors: make a "
            "variant of clip_embeddings with a backend that has one (clip, siglip, ...)"
        )


def check_frames(frames: Sequence[np.ndarray]) -> None:
    """Sees that frames are pictures.

    Raises:
        ValueError: one is not uint8 [H, W, 3].
    """
    for frame in frames:
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
            raise ValueError(f"frames must be uint8 [H, W, 3], got {frame.dtype} {frame.shape}")


def stepped(available: int, wanted: int) -> list[int]:
    """Which of a clip's frames a model of videos takes: each `available // wanted`-th, the first `wanted` of them, as
    NVIDIA's Cosmos-Curate does. Of fewer, some are taken several times, evenly (what sampling the clip at a
    higher rate would give if nothing moved), but a single one stays one: it is a picture.

    Raises:
        ValueError: there are none.
    """
    if available < 1:
        raise ValueError("a clip vector needs at least one frame")
    if available == 1:
        return [0]
    return [k * (available // wanted) if available >= wanted else k * available // wanted for k in range(wanted)]


def embedded(embedder: Embedder | ClipEmbedder, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """A clip's unit vector, float32 [d], and the number of its frames that went in.

    Args:
        frames: of the clip, in order, uint8 RGB [H, W, 3]. A picture is a clip of one frame.

    Raises:
        ValueError: there is no frame, or one is no picture, or there is no direction.
    """
    if not isinstance(embedder, ClipEmbedder):
        return clip_vector(embedder.embed(frames)), len(frames)
    if embedder.frames is None:
        return embedder.embed_clip(frames), len(frames)
    chosen = stepped(len(frames), embedder.frames)
    return embedder.embed_clip([frames[k] for k in chosen]), len(set(chosen))


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

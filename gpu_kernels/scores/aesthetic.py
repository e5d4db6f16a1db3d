"""How pleasing pictures are, as people who rated photographs would say: NVIDIA Cosmos-Curate's aesthetic score."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gpu_kernels.errors import UserError
from gpu_kernels.models.files import Device
from gpu_kernels.models.resolve import check_hub_pin, model_folder, pinned_model
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.scores.measurement import NO_MODEL, CostlyMeasurementConfig


class AestheticScoresConfig(CostlyMeasurementConfig, ModelSection):
    """By which models clips are rated. Both are named as the CLIP of `clip_embeddings` is; neither ships with the
    project."""

    # The models are part of a row's identity by what pins them.
    without_effect: ClassVar[frozenset[str]] = CostlyMeasurementConfig.without_effect | {
        "device",
        "model",
        "revision",
        "head",
        "head_revision",
    }

    model: str | None = Field(default=None, min_length=1)
    """The CLIP whose image features are rated: ViT-L/14 for the known heads. A folder in the transformers format, a hub
    id `owner/name`, or the name of a model that `curate models list` shows."""
    revision: str | None = None
    """Commit (40 hexadecimal digits) of a hub id, needed with one; with a folder the 16 digits of its content,
    optional."""
    head: str | None = Field(default=None, min_length=1)
    """What makes a score of the features: likewise a folder, a hub id or a name, of a model with linear layers in a
    safetensors file."""
    head_revision: str | None = None
    """What pins it, likewise."""
    frames_per_second: float = Field(default=1.0, gt=0)
    """Of the storyboard's pictures, how many per second are rated, at most."""
    device: Device = "auto"
    """Where the CLIP runs; `auto` is a GPU if torch sees one."""

    @model_validator(mode="after")
    def _named(self) -> "AestheticScoresConfig":
        if self.enabled and (self.model is None or self.head is None):
            raise ValueError("`enabled` needs `model`, a CLIP, and `head`, which makes a score of its features")
        for model, revision in self._models():
            check_hub_pin(model, revision)
        return self

    def models(self) -> tuple[Wanted, ...]:
        return tuple(Wanted(*each) for each in self._models())

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the CLIP and the head.

        Raises:
            FileNotFoundError, ValueError: one is not there, or not pinned.
        """
        if not self.enabled:
            return NO_MODEL
        names, revisions = zip(*(pinned_model(*each) for each in self._models()), strict=True)
        return "+".join(names), "+".join(revisions)

    def _models(self) -> list[tuple[str, str | None]]:
        named = ((self.model, self.revision), (self.head, self.head_revision)) if self.enabled else ()
        return [(model, revision) for model, revision in named if model is not None]


class AestheticRater:
    """A CLIP's image features at unit length, and the head. The CLIP's own preparation is that of the reference: the
    shorter side to 224 pixels (bicubic, with antialiasing), the middle square, its mean and deviation.

    Raises:
        NotThere: a model is not on this machine.
        UserError: one is not what it should be.
    """

    def __init__(self, config: AestheticScoresConfig) -> None:
        from gpu_kernels.embedders.clip_siglip import ClipConfig

        if config.model is None or config.head is None:
            raise UserError("aesthetic_scores need `model` and `head`")
        pinned_model(config.head, config.head_revision)
        folder = model_folder(config.head, config.head_revision)
        self._weight, self._bias = folded(read_layers(folder), config.head)
        self._clip = ClipConfig(model=config.model, revision=config.revision, device=config.device).load()
        if self._clip.dimension != len(self._weight):
            raise UserError(
                f"aesthetic_scores.head {config.head!r} rates {len(self._weight)} features, and the CLIP "
                f"{config.model!r} gives {self._clip.dimension}: name the CLIP that the head was made for"
            )

    def __call__(self, picture: np.ndarray) -> float:
        """Some 1 to 10, of a picture, uint8 [height, width, 3], RGB."""
        (features,) = self._clip.embed([picture])
        return float(features.astype(np.float64) @ self._weight + self._bias)


Layer = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weight [out, in] and bias [out]."""


def read_layers(folder: Path) -> list[Layer]:
    """The linear layers of a head, in the order of the numbers in their names.

    Raises:
        UserError: its file has anything else.
    """
    from safetensors.numpy import load_file

    found: dict[int, dict[str, NDArray[np.float64]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, values in load_file(path).items():
            match = re.fullmatch(r"(?:\w+\.)*?(\d+)\.(weight|bias)", name)
            if match is None:
                raise UserError(f"{path.name} of the head {folder.name!r} has {name!r}, which is of no linear layer")
            found.setdefault(int(match[1]), {})[match[2]] = values.astype(np.float64)
    layers = [found[number] for number in sorted(found)]
    if not layers or any(len(each) != 2 for each in layers):
        raise UserError(f"the head {folder.name!r} should have layers with a weight and a bias each")
    return [(each["weight"], each["bias"]) for each in layers]


def folded(layers: Sequence[Layer], name: str) -> tuple[NDArray[np.float64], float]:
    """Linear layers without anything between them, as one: weight [in] and bias. Dropout, which stands between them in
    training, does nothing afterwards.

    Raises:
        UserError: they do not fit together, or give more than one number.
    """
    weight, bias = layers[0]
    for later, its_bias in layers[1:]:
        if later.ndim != 2 or later.shape[1] != len(bias):
            raise UserError(f"the layers of the head {name!r} do not fit together")
        weight, bias = later @ weight, later @ bias + its_bias
    if weight.ndim != 2 or weight.shape[0] != 1 or bias.shape != (1,):
        raise UserError(f"the head {name!r} gives {len(bias)} numbers, and a score is one")
    return weight[0], float(bias[0])

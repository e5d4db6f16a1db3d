"""What is in pictures, coarsely: the classes of ImageNet."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.models.registry import EFFICIENTNET_LITE0, packaged_file, packaged_revision
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.scores.measurement import NO_MODEL, CostlyMeasurementConfig


class ClipLabelsConfig(CostlyMeasurementConfig, ModelSection):
    """How clips are labelled."""

    frames_per_second: float = Field(default=1.0, gt=0)
    """Of the storyboard's pictures, how many per second are looked at, at most."""
    most: int = Field(default=10, ge=1, le=100)
    """Labels of a clip, the likeliest."""

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(EFFICIENTNET_LITE0.name),) if self.enabled else ()

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the network.

        Raises:
            NotThere: its package is not installed, with the remedy.
        """
        return (EFFICIENTNET_LITE0.name, packaged_revision(EFFICIENTNET_LITE0)) if self.enabled else NO_MODEL


@cache
def class_names() -> tuple[str, ...]:
    """The 1000 classes, in the network's order."""
    lines = files(__package__ or "").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


class Labeller:
    """EfficientNet-Lite0 with its classifier, on pictures as the embedder of that name prepares them.

    Raises:
        NotThere: the package with its weights is not installed.
    """

    def __init__(self) -> None:
        from gpu_kernels.embedders.efficientnet_openvino import EfficientNetLite0
        from gpu_kernels.models.torch_files import read_state

        state = read_state(packaged_file(EFFICIENTNET_LITE0))
        self._features = EfficientNetLite0(state, side=224)
        self._weight, self._bias = (state[f"_fc.{name}"].astype(np.float64) for name in ("weight", "bias"))

    def __call__(self, picture: np.ndarray) -> NDArray[np.float64]:
        """Of every class, how likely it is, float64 [1000], for a picture, uint8 [height, width, 3], RGB."""
        from PIL import Image

        from gpu_kernels.embedders.efficientnet import squeezed

        scores = self._weight @ self._features(squeezed(Image.fromarray(picture))) + self._bias
        odds = np.exp(scores - scores.max())
        return odds / odds.sum()


def likeliest(pictures: Iterable[NDArray[np.float64]], most: int) -> list[tuple[str, float]]:
    """The labels of a clip and their confidence, the mean over its pictures; the likeliest first."""
    mean = np.mean(list(pictures), axis=0)
    names = class_names()
    return [(names[place], float(mean[place])) for place in np.argsort(-mean, kind="stable")[:most]]

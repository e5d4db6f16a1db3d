"""Nudity and other explicit content in pictures, by two networks. How much of it they find was not measured here."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from gpu_kernels.models.registry import NUDENET, OPEN_NSFW, Model, packaged_file, packaged_revision
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.scores.measurement import NO_MODEL, CostlyMeasurementConfig

_PIXELS = 224
_MEAN_BGR = np.array([104, 117, 123], np.float32)

_SIDE = 320
INTIMATE = {
    2: "buttocks",
    3: "female_breast",
    4: "female_genitalia",
    6: "anus",
    14: "male_genitalia",
}
"""Of nudenet's 18 classes, those of exposed intimate parts, by their place. Its classes of covered parts see them on
dressed people, those of other exposed parts on bare feet and arms."""
_SEEN = 0.25
"""Score of a part that is named; nudenet's own floor."""


class SafetyScoresConfig(CostlyMeasurementConfig, ModelSection):
    """How explicit content is looked for."""

    frames_per_second: float = Field(default=1.0, gt=0)
    """Of the storyboard's pictures, how many per second are looked at, at most."""
    parts: bool = False
    """Whether exposed parts of bodies are looked for, too, by nudenet: `pip install --no-deps nudenet`. See
    [its licence and its mistakes](measurements.md#safety_scores)."""

    def models(self) -> tuple[Wanted, ...]:
        return tuple(Wanted(model.name) for model in self._models())

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the networks.

        Raises:
            NotThere: a package with weights is not installed, with the remedy.
        """
        models = self._models()
        if not models:
            return NO_MODEL
        return "+".join(each.name for each in models), "+".join(packaged_revision(each) for each in models)

    def _models(self) -> tuple[Model, ...]:
        if not self.enabled:
            return ()
        return (OPEN_NSFW, NUDENET) if self.parts else (OPEN_NSFW,)


class ExplicitContent:
    """Yahoo's open_nsfw (2016), a ResNet-50 that tells pornographic pictures from others, with its own preparation.

    Raises:
        NotThere: the package with its weights is not installed.
    """

    def __init__(self) -> None:
        from gpu_kernels.models.cpu_network import CpuNetwork

        self._network = CpuNetwork(packaged_file(OPEN_NSFW), (1, _PIXELS, _PIXELS, 3))

    def __call__(self, picture: np.ndarray) -> float:
        """0 to 1: below 0.2 is safe and above 0.8 explicit, as its authors say.

        Args:
            picture: uint8 [height, width, 3], RGB.
        """
        from PIL import Image
        from PIL.Image import Resampling

        edge = (256 - _PIXELS) // 2
        square = Image.fromarray(picture).resize((256, 256), Resampling.BILINEAR)
        square = square.crop((edge, edge, edge + _PIXELS, edge + _PIXELS))
        jpeg = io.BytesIO()  # the scores of the original are those of pictures that were saved once more
        square.save(jpeg, "JPEG")
        with Image.open(jpeg) as saved:
            bgr = np.asarray(saved, np.float32)[:, :, ::-1]
        return float(self._network((bgr - _MEAN_BGR)[None])[0, 1])


@dataclass(frozen=True)
class Exposed:
    """Exposed intimate parts in a picture.

    Attributes:
        score: of the surest, 0 to 1; 0 without any.
        parts: those with at least 0.25, sorted.
    """

    score: float
    parts: tuple[str, ...]


class ExposedParts:
    """nudenet (2019, version 3): a YOLOv8 for parts of bodies.

    Raises:
        NotThere: the package with its weights is not installed.
    """

    def __init__(self) -> None:
        from gpu_kernels.models.cpu_network import CpuNetwork

        self._network = CpuNetwork(packaged_file(NUDENET), (1, 3, _SIDE, _SIDE))

    def __call__(self, picture: np.ndarray) -> Exposed:
        """What it sees in a picture, uint8 [height, width, 3], RGB."""
        import cv2

        high, wide = picture.shape[:2]
        side = max(high, wide)
        square = cv2.copyMakeBorder(picture, 0, side - high, 0, side - wide, cv2.BORDER_CONSTANT)
        pixels = cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR) / np.float32(255)
        return exposed(self._network(pixels.astype(np.float32).transpose(2, 0, 1)[None])[0, 4:].T)


def exposed(scores: np.ndarray) -> Exposed:
    """From the scores of every place and class, float32 [places, 18]. A place counts for its likeliest class only, so
    that what is covered, or a face, does not count as bare."""
    likeliest, best = scores.argmax(axis=1), scores.max(axis=1)
    of_parts = {part: float(best[likeliest == place].max(initial=0)) for place, part in INTIMATE.items()}
    parts = tuple(sorted(part for part, score in of_parts.items() if score >= _SEEN))
    return Exposed(max(of_parts.values()), parts)


@dataclass(frozen=True)
class Safety:
    """What the pictures of a clip come to.

    Attributes:
        explicit, explicit_mean: the greatest and the mean score of explicit content.
        exposed: the greatest score of an exposed part; None: nobody looked.
        parts: those that were seen in any picture, sorted; None likewise.
    """

    explicit: float
    explicit_mean: float
    exposed: float | None
    parts: tuple[str, ...] | None


def safety_of(explicit: Sequence[float], parts: Sequence[Exposed] | None) -> Safety:
    """Sum up the scores of each picture; there is one at least."""
    return Safety(
        explicit=max(explicit),
        explicit_mean=sum(explicit) / len(explicit),
        exposed=max(each.score for each in parts) if parts is not None else None,
        parts=tuple(sorted({part for each in parts for part in each.parts})) if parts is not None else None,
    )

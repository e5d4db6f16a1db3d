"""Faces in pictures: how many, how large, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import Field

from gpu_kernels.errors import NotThere
from gpu_kernels.models.registry import YUFACE, packaged_revision
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.scores.measurement import NO_MODEL, CostlyMeasurementConfig


class FacesConfig(CostlyMeasurementConfig, ModelSection):
    """How faces are found."""

    confidence: float = Field(default=0.8, ge=0.3, le=0.95)
    """How sure the detector must be of a face. It finds a few more faces at 0.7, and more that are none."""
    frames_per_second: float = Field(default=1.0, gt=0)
    """Of the storyboard's pictures, how many per second are looked at, at most."""

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(YUFACE.name),) if self.enabled else ()

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the detector.

        Raises:
            NotThere: its package is not installed, with the remedy.
        """
        if not self.enabled:
            return NO_MODEL
        try:
            return YUFACE.name, packaged_revision(YUFACE)
        except NotThere as error:
            raise NotThere(f"{error}; yuface is published for Python 3.11 and older only") from None


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        x, y, width, height: its box, as shares of the picture's width and height.
        confidence: 0 to 1.
    """

    x: float
    y: float
    width: float
    height: float
    confidence: float

    @property
    def area(self) -> float:
        """Share of the picture."""
        return self.width * self.height


class FaceDetector(Protocol):
    """Finds the faces of a picture, uint8 [height, width, 3], RGB; the surest first."""

    def __call__(self, picture: np.ndarray, /) -> list[Face]: ...


def face_detector(confidence: float) -> FaceDetector:
    """libfacedetection (S. Yu et al., 2023), whose weights are part of its code, as the package `yuface` ships it.

    Raises:
        NotThere: the package is not installed.
    """
    packaged_revision(YUFACE)
    from yuface.yuface import detect

    least = round(100 * confidence)

    def faces(picture: np.ndarray) -> list[Face]:
        # Native code: it is given nothing but what it expects, since it checks little itself.
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
            raise ValueError(f"pictures must be uint8 [H, W, 3], got {picture.dtype} {picture.shape}")
        found = detect(np.ascontiguousarray(picture[:, :, ::-1]))  # int16: confidence, x, y, width, height, ...
        sure = sorted((each[:5] for each in found.tolist() if each[0] >= least), reverse=True)
        return [_face(*each, picture=picture) for each in sure]

    return faces


def _face(confidence: int, x: int, y: int, width: int, height: int, picture: np.ndarray) -> Face:
    """From percent and pixels; the part of the box that is in the picture."""
    high, wide = picture.shape[:2]
    left, right = (min(max(edge, 0), wide) / wide for edge in (x, x + width))
    top, bottom = (min(max(edge, 0), high) / high for edge in (y, y + height))
    return Face(left, top, right - left, bottom - top, confidence / 100)


@dataclass(frozen=True)
class FacesSeen:
    """What the faces of a clip's pictures come to.

    Attributes:
        share: of the pictures, those with a face.
        most: faces in one picture.
        mean: faces per picture.
        largest: area of the largest face, as a share of the picture; 0 without any.
        largest_face: None without any.
    """

    share: float
    most: int
    mean: float
    largest: float
    largest_face: Face | None


def seen(pictures: Sequence[Sequence[Face]]) -> FacesSeen:
    """Sum up the faces of each picture; there is one picture at least."""
    counts = [len(faces) for faces in pictures]
    largest = max((face for faces in pictures for face in faces), key=lambda face: face.area, default=None)
    return FacesSeen(
        share=sum(map(bool, counts)) / len(counts),
        most=max(counts),
        mean=sum(counts) / len(counts),
        largest=largest.area if largest is not None else 0.0,
        largest_face=largest,
    )

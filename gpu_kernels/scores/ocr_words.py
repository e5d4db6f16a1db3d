"""What the text of a clip says: each line is read in the picture that shows it most clearly."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.models.registry import PP_OCR_RECOGNISER, packaged_revision
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.scores.measurement import NO_MODEL, CostlyMeasurementConfig

Pixels = NDArray[np.uint8]


class OcrWordsConfig(CostlyMeasurementConfig, ModelSection):
    """How text is read. The lines are those that `text_overlays` finds, which must be enabled, too."""

    confidence: float = Field(default=0.8, ge=0, le=1)
    """How sure the recogniser must be of a line's characters, on average."""

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(PP_OCR_RECOGNISER.name),) if self.enabled else ()

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the recogniser, with its precision.

        Raises:
            NotThere: its package is not installed, with the remedy.
        """
        return (PP_OCR_RECOGNISER.name, f"{packaged_revision(PP_OCR_RECOGNISER)}-f32") if self.enabled else NO_MODEL


def clearest(crops: Sequence[Pixels]) -> int:
    """Which of the pictures of a line, uint8 RGB [height, width, 3], can be read best: the tallest and sharpest."""
    import cv2

    greys = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops]
    clarity = [grey.shape[0] * float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()) for grey in greys]
    return int(np.argmax(clarity))


def said(text: str, confidence: float, least: float) -> str | None:
    """The text that was read, with single spaces; None where it is not sure enough, or has neither letters nor digits.

    Args:
        least: how sure it must be.
    """
    sure = confidence >= least and any(character.isalnum() for character in text)
    return " ".join(text.split()) if sure else None


def words_of(lines: Iterable[str]) -> list[str]:
    """The different words of lines in lower case, without punctuation around them, in the order in which they come."""
    bare = (
        word.strip("".join(c for c in set(word) if not c.isalnum())).lower() for line in lines for word in line.split()
    )
    return list(dict.fromkeys(word for word in bare if word))

"""An embedder for `clip_embeddings`: frames by how their colours are distributed. One class with its settings.

In the package that brings it:

    [project.entry-points."curate.embedders"]
    colours = "colour_embedder:ColoursConfig"

`clip_embeddings: {backend: colours}` then chooses it. A network would be loaded in `load`, from files that `identity`
names by a commit or a content hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from curate_assets.video import ClipEmbeddingsConfig, Embedder, unit_rows


class ColoursConfig(ClipEmbeddingsConfig):
    """A histogram of each frame's colours."""

    backend: Literal["colours"] = "colours"
    levels: int = Field(default=4, ge=2, le=8)
    """Levels of red, green and blue each: a vector has that many to the third."""

    def identity(self) -> tuple[str, str]:
        return "colours", f"{self.levels} levels"

    def load(self) -> Embedder:
        return Colours(*self.identity(), self.levels)


@dataclass(frozen=True)
class Colours:
    """The embedder: see `curate_assets.video.Embedder`."""

    name: str
    revision: str
    levels: int

    @property
    def dimension(self) -> int:
        return self.levels**3

    def embed(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        return unit_rows(np.stack([self._histogram(frame) for frame in frames]))

    def _histogram(self, frame: np.ndarray) -> np.ndarray:
        red, green, blue = (frame.reshape(-1, 3).astype(np.int64) * self.levels // 256).T
        places = (red * self.levels + green) * self.levels + blue
        return np.sqrt(np.bincount(places, minlength=self.dimension))

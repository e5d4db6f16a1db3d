"""A captioner for `captions`: it names the colour that a window has most of. One class with its settings.

In the package that brings it:

    [project.entry-points."curate.captioners"]
    colours = "colour_captioner:ColourCaptionsConfig"

`captions: {backend: colours}` then chooses it. A model would be loaded in `load`, and asked in `caption`.
"""

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from curate_assets.video import Caption, Captioner, CaptionRequest, CaptionsConfig, decoded

_HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")


class ColourCaptionsConfig(CaptionsConfig):
    """Captions that name a colour."""

    backend: Literal["colours"] = "colours"
    least_saturation: float = Field(default=0.1, ge=0, le=1)
    """A window whose mean colour has less is called grey."""

    def identity(self) -> tuple[str, str]:
        return "colours", "1"

    def load(self) -> Captioner:
        return ColourCaptioner(*self.identity(), self.least_saturation)


@dataclass(frozen=True)
class ColourCaptioner:
    """The captioner: see `curate_assets.video.Captioner`."""

    model: str
    revision: str
    least_saturation: float

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        if not window.frames:
            return Caption(None, "skipped", "the window has no frames")
        red, green, blue = np.mean([decoded(jpeg).mean(axis=(0, 1)) / 255 for jpeg in window.frames], axis=0)
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        colour = "grey" if saturation < self.least_saturation else _HUES[round(hue * 6) % 6]
        return Caption(f"A {'bright' if value > 0.5 else 'dark'} clip, mostly {colour}.", "success")

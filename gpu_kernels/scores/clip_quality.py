"""Technical quality of a clip over time, from that of its frames."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.scores.measurement import MeasurementConfig
from gpu_kernels.scores.picture_quality import PictureQuality

OF_SAMPLES = PictureQuality._fields
OF_FRAMES = ("luma", "contrast", "colourfulness")
_LOW, _HIGH = 10, 90
_SHOWS = 0.02
"""Contrast of a frame from which on there is something in it to be blurred or noisy."""
_NEED_CONTENT = ("blur", "noise", "blockiness")


class TechnicalQualityConfig(MeasurementConfig):
    """How technically good clips are."""


def clip_quality(
    samples: Mapping[str, NDArray[np.float32]], frames: Mapping[str, NDArray[np.float32]], at: NDArray[np.int64]
) -> dict[str, float | None]:
    """Medians, tenths (`_low`) and nine tenths (`_high`) of each measure; None where no sample tells.

    Args:
        samples: the measures of OF_SAMPLES of the sampled frames.
        frames: those of OF_FRAMES of all frames of the clip.
        at: the sampled frames, counted within the clip.
    """
    looked = samples["blockiness"] > 0  # it is 0 where the picture is too small to be looked at
    shows = looked & (frames["contrast"][at] >= _SHOWS)
    found: dict[str, float | None] = {}
    for name, values in (*samples.items(), *frames.items()):
        told = values[shows] if name in _NEED_CONTENT else values[looked] if name in samples else values
        low, middle, high = np.percentile(told, (_LOW, 50, _HIGH)).tolist() if len(told) else (None, None, None)
        found |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    return found

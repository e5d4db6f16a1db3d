"""How bright, how black and how sharp pictures are."""

import numpy as np
from numpy.typing import NDArray

_LUMA = np.array([299, 587, 114], np.int32)
"""Weights of red, green and blue in ITU-R BT.601 luma, in thousandths: whole numbers make the sums exact."""
_WHITE = 255 * 1000


def thumbnail_luminance(
    frames: NDArray[np.uint8], black_level: float = 0.1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness of small pictures, each by itself.

    Args:
        frames: uint8 [n, h, w, 3], full-range RGB (the shot detector's thumbnails are 27 x 48).
        black_level: a pixel is black if its luma, 0..1, is below this.

    Returns:
        Mean BT.601 luma, float32 [n] in 0..1, and the share of black pixels, float32 [n] in 0..1.

    Raises:
        ValueError: another shape or dtype, or pictures without pixels.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape[1:3]:
        raise ValueError(f"frames must be uint8 [n, h, w, 3], not {frames.dtype} {list(frames.shape)}")
    luma = frames.astype(np.int32) @ _LUMA
    mean = luma.mean((1, 2), dtype=np.float64) / _WHITE
    black = (luma < black_level * _WHITE).mean((1, 2))
    return mean.astype(np.float32), black.astype(np.float32)


def sharpness(gray: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of uint8 [h, w], in grey levels squared: low for a picture out of focus.

    The measure LAPV of Pech-Pacheco et al. 2000 (Diatom autofocusing in brightfield microscopy), with the kernel of
    four neighbours and the border mirrored. It depends on content and picture size: compare pictures of one size.
    """
    import cv2

    return float(cv2.Laplacian(gray, cv2.CV_16S, ksize=1).var(dtype=np.float64))

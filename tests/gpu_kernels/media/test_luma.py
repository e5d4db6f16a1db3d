"""Luma at full size is what ffmpeg's own scaler gives, for planar and packed formats of both ranges."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gpu_kernels.media.luma import Luma
from gpu_kernels.media.scaler import Scaler


@pytest.mark.parametrize(
    "written", ["yuv420p", "yuv444p -color_range tv", "yuvj420p -color_range pc", "yuv420p10le", "gbrp"]
)
def test_luma_is_that_of_the_scaler(media: Any, tmp_path: Path, written: str) -> None:
    path = media.made(tmp_path / "a.mkv", f"-f lavfi -i testsrc2=s=82x46:r=5:d=0.4 -c:v ffv1 -pix_fmt {written}")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        luma, scaler = Luma(stream), Scaler(lambda width, height: (width, height), "gray", stream, upright=False)
        for frame in container.decode(stream):
            values, levels = luma(frame)
            apart = np.abs(levels[values].astype(int) - scaler(frame))
            assert values.shape == (46, 82) and apart.max() <= 1, frame.format.name

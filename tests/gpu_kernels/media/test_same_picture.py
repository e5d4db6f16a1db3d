"""A video's row, storyboard and clip files, copied or encoded, show one and the same picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from gpu_kernels.cutting.cut import cut_clip, read_back
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.spans import Span
from gpu_kernels.media.storyboards import StoryboardsConfig, decoded
from gpu_kernels.sandbox import Nursery
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan.scan import ScanChunk, read_scan

X264 = "-c:v libx264 -preset ultrafast -crf 12 -g 25"
CROP = (40, 30, 40, 30)


def plain(media: Any, folder: Path, more: str = "-pix_fmt yuv420p") -> Path:
    return media.made(folder / "plain.mp4", f"-t 1 -i {media('numbered.mkv')} {X264} {more} -c:a aac")


def hdr(media: Any, folder: Path, pixels: str) -> Path:
    return plain(media, folder, f"-pix_fmt {pixels} {media.coloured('bt2020', 'smpte2084', 'bt2020nc')}")


def cropped(media: Any, folder: Path) -> Path:
    (path := plain(media, folder)).write_bytes(media.with_clean_aperture(path.read_bytes(), CROP))
    return path


SOURCES: dict[str, Callable[[Any, Path], Path]] = {
    "plain": plain,
    "mirrored": lambda media, folder: media.turned(plain(media, folder), folder / "x.mp4", degrees=0, hflip=True),
    "flipped": lambda media, folder: media.turned(plain(media, folder), folder / "x.mov", degrees=0, vflip=True),
    "turned": lambda media, folder: media.turned(plain(media, folder), folder / "x.mkv", degrees=90),
    "askew": lambda media, folder: media.turned(plain(media, folder), folder / "x.mp4", degrees=45),
    "cropped": cropped,
    "stretched": lambda media, folder: plain(media, folder, "-pix_fmt yuv420p -vf setsar=4/3"),
    "cropped, turned": lambda media, folder: media.turned(cropped(media, folder), folder / "x.mkv", degrees=-90),
    "hdr": lambda media, folder: hdr(media, folder, "yuv420p10le"),
    "hdr in 8 bits": lambda media, folder: hdr(media, folder, "yuv420p"),
}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "encode") for name in SOURCES),
        *((name, "copy") for name in ("plain", "mirrored", "cropped", "hdr in 8 bits")),
    ],
)
def test_rows_storyboards_and_clips_agree(nursery: Nursery, media: Any, tmp_path: Path, name: str, method: str) -> None:
    path = SOURCES[name](media, tmp_path)
    ((facts, _),) = nursery.run("gpu_kernels.media.containers:probe", raw, [str(path)], path=str(path))
    config = StoryboardsConfig(frames_per_second=25, jpeg_quality=95)
    parts = [part for part in read_scan(nursery, str(path), None, [config]) if isinstance(part, ScanChunk)]
    board = [decoded(bytes(frame.jpeg)) for part in parts for frame in part.storyboards[0]]
    times = np.concatenate([part.pts_ns for part in parts])

    clip = tmp_path / "clip.mp4"
    files = ClipFilesConfig.model_validate({"method": method, "preset": "ultrafast", "crf": 12})
    copied = cut_clip(nursery, str(path), str(clip), Span(0, 25, int(times[0]), 10**9), files)
    assert (copied > 0) is (method == "copy" and name == "plain")
    with av.open(str(clip)) as opened:
        shown = [frame.to_ndarray(format="rgb24", src_colorspace=frame.colorspace) for frame in opened.decode(video=0)]
    assert len(shown) == len(board) == 25
    width, height = facts["width"], facts["height"]
    even = (height // 2 * 2, width // 2 * 2, 3)
    assert {picture.shape for picture in board} == {(height, width, 3)}
    assert {picture.shape for picture in shown} == {even}
    pairs = [(picture[: even[0], : even[1]], own) for picture, own in zip(board, shown, strict=True)]
    assert min(cv2.PSNR(np.ascontiguousarray(one), other) for one, other in pairs) > 28
    thumbnail = decoded(read_back(nursery, str(clip), files).thumbnail)
    small = cv2.resize(pairs[12][0], thumbnail.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert cv2.PSNR(thumbnail, small) > 25

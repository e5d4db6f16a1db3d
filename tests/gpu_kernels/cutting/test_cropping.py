"""A cropped clip has the frames of the whole one, and of each exactly the pixels of its part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from gpu_kernels.cutting.cropping import Cropping, Line, common_picture, cropping
from gpu_kernels.cutting.cut import crop_clip, cut_clip, read_back
from gpu_kernels.cutting.encode import ClipFilesConfig, Crop
from gpu_kernels.cutting.spans import Span
from gpu_kernels.sandbox import Nursery
from gpu_kernels.scores.borders import Box

LOSSLESS = ClipFilesConfig(method="encode", preset="ultrafast", crf=0, crop="borders")
SPAN = Span(7, 22, 280_000_000, 880_000_000)
X264 = "-c:v libx264 -preset ultrafast -crf 12 -g 10"


def planes(media: Any, path: Path, width: int, height: int) -> list[np.ndarray]:
    """Luma and both chromas of all frames, as ffmpeg decodes them: uint8 [n, lines, columns] each."""
    frames = media.frames(path, "yuv420p", (width, height * 3 // 2)).reshape(-1, width * height * 3 // 2)
    luma, chroma = frames[:, : width * height], frames[:, width * height :]
    blue, red = chroma.reshape(len(frames), 2, height // 2, width // 2).transpose(1, 0, 2, 3)
    return [luma.reshape(len(frames), height, width), blue, red]


def part(whole: list[np.ndarray], box: Box) -> list[np.ndarray]:
    shares = (1, 2, 2)
    return [
        plane[:, box.y // n : (box.y + box.height) // n, box.x // n : (box.x + box.width) // n]
        for plane, n in zip(whole, shares, strict=True)
    ]


@pytest.mark.parametrize("looks", ["plain", "turned", "stretched", "odd", "clean aperture"])
def test_a_cropped_clip_is_the_part_of_the_whole(nursery: Nursery, media: Any, tmp_path: Path, looks: str) -> None:
    size, more = {"stretched": ((426, 240), "-vf setsar=4/3"), "odd": ((318, 238), "-vf crop=319:239:exact=1")}.get(
        looks, ((320, 240), "")
    )
    pixels = "yuv444p" if looks == "odd" else "yuv420p"
    source = media.made(tmp_path / "x.mp4", f"-t 1 -i {media('numbered.mkv')} {X264} -pix_fmt {pixels} {more} -c:a aac")
    if looks == "turned":
        source, size = media.turned(source, tmp_path / "turned.mp4", degrees=90), (240, 320)
    if looks == "clean aperture":
        source.write_bytes(media.with_clean_aperture(source.read_bytes(), (40, 30, 40, 30)))
        size = (240, 180)
    box, clip, whole = Box(22, 34, size[0] - 60, size[1] - 64), tmp_path / "clip.mp4", tmp_path / "whole.mp4"
    assert crop_clip(nursery, str(source), str(clip), SPAN, LOSSLESS, Crop(box, size))
    cut_clip(nursery, str(source), str(whole), SPAN, LOSSLESS)
    facts = read_back(nursery, str(clip), LOSSLESS)
    assert (facts.frames, facts.width, facts.height, facts.has_audio) == (15, box.width, box.height, True)
    shown, expected = planes(media, clip, box.width, box.height), part(planes(media, whole, *size), box)
    assert all(np.array_equal(one, other) for one, other in zip(shown, expected, strict=True))
    if looks == "plain":
        decoded = part(planes(media, source, *size), box)
        assert all(np.array_equal(one, other[7:22]) for one, other in zip(shown, decoded, strict=True))


def test_frames_of_another_size_are_not_cropped(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    crop, target = Crop(Box(0, 90, 320, 180), (640, 360)), str(tmp_path / "clip.mp4")
    span = Span(0, 9, 0, 300_000_000)
    assert not crop_clip(nursery, str(media("closed_gop.mp4")), target, span, LOSSLESS, crop)
    facts = read_back(nursery, target, LOSSLESS)
    assert (facts.frames, facts.width, facts.height) == (9, 320, 180)


@pytest.mark.parametrize(
    ("picture", "kept"),
    [
        (Box(0, 0, 641, 361), None),  # the whole, but for the odd line and column that no clip has
        (Box(0, 45, 641, 271), Box(0, 46, 640, 270)),
        (Box(219, 0, 203, 361), Box(220, 0, 202, 360)),
        (Box(3, 3, 635, 355), Box(4, 4, 634, 354)),
    ],
)
def test_edges_are_even_and_never_beyond_the_picture(picture: Box, kept: Box | None) -> None:
    assert cropping((641, 361), picture, [], 0.25) == Cropping(kept)


def test_bands_of_text_go_and_other_text_stays() -> None:
    size, picture = (640, 360), Box(0, 40, 640, 280)
    subtitle, second, title, middle = Line(0.8, 0.05), Line(0.74, 0.05), Line(0.15, 0.1), Line(0.5, 0.1)
    assert cropping(size, Box(0, 0, *size), [subtitle, second, middle], 0.25) == Cropping(Box(0, 0, 640, 260))
    assert cropping(size, picture, [title, middle], 0.25) == Cropping(Box(0, 100, 640, 220))
    below = Line(0.93, 0.05)  # in the bar, which goes anyway
    assert cropping(size, picture, [below], 0.25) == Cropping(picture)


def test_what_would_leave_too_little_is_left_whole() -> None:
    upright = Box(219, 0, 202, 360)
    assert cropping((640, 360), upright, [], 0.25).box == Box(220, 0, 200, 360)
    assert cropping((640, 360), upright, [], 0.5) == Cropping(undone="too_little_left")
    assert cropping((80, 60), Box(26, 0, 28, 60), [], 0.25) == Cropping(undone="too_little_left")


def test_borders_that_move_leave_what_is_picture_at_all_times() -> None:
    high, wide = Box(200, 0, 240, 360), Box(0, 60, 640, 240)
    assert common_picture(high.within(wide), [high, wide]) == Box(200, 60, 240, 240)
    left, right = Box(0, 0, 300, 360), Box(320, 0, 320, 360)
    assert common_picture(right, [left, right]) is None
    assert cropping((640, 360), None, [], 0.25) == Cropping(undone="borders_move")


@pytest.mark.parametrize("setting", [{"crop": "borders"}, {"drop_bands": True}])
def test_what_is_copied_cannot_be_cropped(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ValidationError, match=f"{name} needs method: encode"):
        ClipFilesConfig.model_validate(setting)
    before = ClipFilesConfig(method="encode").settings()
    assert before.keys().isdisjoint({"crop", "drop_bands", "crop_least_share"})
    assert ClipFilesConfig.model_validate({"method": "encode", **setting}).settings() != before

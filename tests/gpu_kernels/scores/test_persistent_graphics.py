"""Logos that are put over pictures that move, and over pictures that do not."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_kernels.scores.persistent_graphics import persistent_graphics, prepared

Picture = NDArray[np.uint8]
LEFT, TOP, WIDE, HIGH = 180, 12, 40, 18


def scene(seed: int) -> Picture:
    """Soft shapes of many greys."""
    coarse = np.random.default_rng(seed).integers(20, 220, (8, 12, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (240, 160), interpolation=cv2.INTER_CUBIC), np.uint8)


def marked(pictures: list[Picture], opacity: float) -> list[Picture]:
    shown: list[Picture] = []
    for picture in pictures:
        over = picture.copy()
        cv2.rectangle(over, (LEFT, TOP), (LEFT + WIDE - 1, TOP + HIGH - 1), (240, 240, 240), 2)
        cv2.line(over, (LEFT + 8, TOP + 4), (LEFT + WIDE - 9, TOP + HIGH - 5), (240, 240, 240), 2)
        shown.append(np.asarray(cv2.addWeighted(over, opacity, picture, 1 - opacity, 0), np.uint8))
    return shown


def grey(pictures: list[Picture]) -> list[Picture]:
    return [prepared(picture) for picture in pictures]


@pytest.mark.parametrize("opacity", [0.3, 0.6, 1.0])
def test_what_stays_while_the_picture_changes_is_found_with_its_box_and_its_opacity(opacity: float) -> None:
    found = persistent_graphics(grey(marked([scene(seed) for seed in range(24)], opacity)))
    assert not found.undecidable and found.compared == 24
    (logo,) = found.graphics
    edges = [logo.box.x, logo.box.y, logo.box.x + logo.box.width, logo.box.y + logo.box.height]
    assert np.abs(np.subtract(edges, [LEFT, TOP, LEFT + WIDE, TOP + HIGH])).max() <= 4
    assert logo.share == 1 and logo.opacity == pytest.approx(opacity, abs=0.2)


def test_nothing_is_found_where_nothing_stays_and_the_share_is_that_of_the_clip() -> None:
    scenes = [scene(seed) for seed in range(24)]
    found = persistent_graphics(grey(scenes))
    assert not found.undecidable and found.graphics == []
    earlier = marked(scenes[:16], 1)
    (logo,) = persistent_graphics(grey([*scenes[16:18], *marked(scenes[18:], 1)]), grey(earlier)).graphics
    assert logo.share == pytest.approx(0.75)
    assert persistent_graphics(grey(scenes[20:]), grey(earlier)).graphics == []  # it ended before the clip


def test_before_a_fixed_camera_nothing_can_be_said_unless_earlier_shots_tell() -> None:
    still = [scene(1)] * 6 + [np.clip(scene(1) + np.uint8(9), 0, 255) for _ in range(6)]
    alone = persistent_graphics(grey(marked(still, 1)))
    assert alone.undecidable and alone.graphics == []
    earlier = marked([scene(seed) for seed in range(100, 130)], 1)
    pooled = persistent_graphics(grey(marked(still, 1)), grey(earlier))
    assert not pooled.undecidable and [each.share for each in pooled.graphics] == [1]


def test_of_pictures_that_are_all_edge_nothing_can_be_said() -> None:
    found = persistent_graphics(grey([scene(seed)[:6] for seed in range(20)]))
    assert found.compared >= 7 and found.undecidable and found.graphics == []


def test_bars_around_the_picture_are_no_graphics() -> None:
    scenes = [scene(seed) for seed in range(20)]
    for picture in scenes:
        picture[:16] = picture[-16:] = 0
    found = persistent_graphics(grey(scenes))
    assert not found.undecidable and found.graphics == []


@pytest.mark.parametrize("shape", ["turned", "round", "rounded corners"])
def test_the_outline_of_a_picture_that_is_no_rectangle_is_no_graphic(shape: str) -> None:
    window = np.zeros((160, 240), np.uint8)
    if shape == "turned":
        cv2.fillPoly(window, [np.array([(60, 0), (200, 0), (240, 40), (180, 159), (40, 159), (0, 120), (0, 60)])], 1)
    elif shape == "round":
        cv2.ellipse(window, (120, 80), (118, 78), 0, 0, 360, 1, -1)
    else:
        cv2.rectangle(window, (24, 0), (215, 159), 1, -1)
        cv2.rectangle(window, (0, 24), (239, 135), 1, -1)
    scenes = [scene(seed) for seed in range(24)]
    compressed = [cv2.imencode(".jpg", each * window[..., None])[1] for each in scenes]
    found = persistent_graphics([prepared(np.asarray(cv2.imdecode(each, 1), np.uint8)) for each in compressed])
    assert not found.undecidable and found.graphics == []
    logos = [each * window[..., None] for each in marked(scenes, 1)]
    if shape == "rounded corners":  # the others hide the logo
        assert len(persistent_graphics(grey(logos)).graphics) == 1


def test_letters_in_a_black_box_at_the_edge_are_a_graphic() -> None:
    scenes = [scene(seed) for seed in range(24)]
    for picture in scenes:
        picture[:30, 170:] = 0
        cv2.putText(picture, "NEWS", (178, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2)
    (found,) = persistent_graphics(grey(scenes)).graphics
    assert found.box.x > 165 and found.box.y + found.box.height < 34


def test_pictures_are_prepared_small_and_of_one_size() -> None:
    large = np.zeros((480, 854, 3), np.uint8)
    assert prepared(large).shape == (240, 427) and prepared(scene(0)).shape == (160, 240)
    assert prepared(large, prepared(scene(0))).shape == (160, 240)

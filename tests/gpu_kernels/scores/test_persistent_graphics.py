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


def test_pictures_are_prepared_small_and_of_one_size() -> None:
    large = np.zeros((480, 854, 3), np.uint8)
    assert prepared(large).shape == (240, 427) and prepared(scene(0)).shape == (160, 240)
    assert prepared(large, prepared(scene(0))).shape == (160, 240)

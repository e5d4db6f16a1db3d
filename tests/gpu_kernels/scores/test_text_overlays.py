"""Which text is an overlay: lines of text whose ways over time are known."""

import numpy as np
import pytest

from gpu_kernels.ocr.detector import TextBox
from gpu_kernels.scores.text_overlays import SECOND, TextOverlays, picture_moves, text_overlays

ASPECT = 16 / 9


def line(x: float, y: float, width: float = 0.3, height: float = 0.05) -> TextBox:
    return TextBox(x, y, width, height, 0.9)


def judged(found: list[list[TextBox]], moves: bool = True, rule: str = "steady", interval: int = 15) -> TextOverlays:
    times = [number * SECOND // 2 for number in range(len(found))]
    frames = [interval * number for number in range(len(found))]
    return text_overlays(found, frames, times, ASPECT, moves, "steady" if rule == "steady" else "reference")


def test_text_that_stays_is_an_overlay_and_text_that_drifts_or_grows_is_not() -> None:
    trembling = np.random.default_rng(0).normal(0, 0.002, (8, 2))
    stays = judged([[line(0.3 + dx, 0.85 + dy)] for dx, dy in trembling])
    assert stays.share == 1 and stays.area == pytest.approx(0.015) and stays.regions == ["bottom"]
    assert len(stays.tracks) == 1 and stays.tracks[0].pictures == list(range(8)) and not stays.undecidable
    drifts = judged([[line(0.3 + 0.005 * number, 0.5)] for number in range(8)])
    grows = judged([[line(0.3, 0.5, 0.3 * 1.04**number, 0.05 * 1.04**number)] for number in range(8)])
    shaking = np.random.default_rng(1).normal(0, 0.015, (8, 2))
    shakes = judged([[line(0.3 + dx, 0.5 + dy, height=0.1)] for dx, dy in shaking])
    assert shakes.share == 0
    for found in (drifts, grows):
        assert len(found.tracks) == 1 and found.share == 0 and found.regions == [] and found.text_share == 1
    assert judged([[line(0.3 + 0.005 * number, 0.5)] for number in range(8)], rule="reference").share == 1


def test_text_that_is_missed_for_a_while_is_one_line_and_text_of_one_picture_is_none() -> None:
    here = [line(0.3, 0.85)]
    found = judged([here, [], [], here, here, here, [], []])
    assert [track.pictures for track in found.tracks] == [[0, 3, 4, 5]] and found.share == pytest.approx(0.5)
    assert judged([[], [], here, [], [], []]).share == 0
    apart = judged([here, here, *[[]] * 5, here, here])
    assert [track.pictures for track in apart.tracks] == [[0, 1], [7, 8]]


def test_still_text_in_a_still_picture_cannot_be_told_unless_it_comes_or_goes() -> None:
    here = [line(0.3, 0.85)]
    always = judged([here] * 8, moves=False)
    assert always.undecidable and always.share == 0 and always.tracks[0].overlay and always.regions == ["bottom"]
    comes = judged([[], [], *[here] * 6], moves=False)
    assert not comes.undecidable and comes.share == pytest.approx(0.75)


def test_the_corner_of_a_box_counts_and_by_the_reference_its_middle() -> None:
    corner = [[line(0.02, 0.03, 0.15, 0.06)]] * 4
    assert judged(corner).corner_share == 1 and judged(corner, rule="reference").corner_share == 1
    larger = [[line(0.02, 0.03, 0.2, 0.15)]] * 4
    assert judged(larger).corner_share == 1 and judged(larger, rule="reference").corner_share == 0
    assert judged([[line(0.3, 0.03)]] * 4).corner_share == 0


def test_the_reference_asks_for_ten_frames() -> None:
    shown = [[line(0.3, 0.85)]] * 2 + [[]] * 6
    assert judged(shown, rule="reference", interval=3).share == 0  # three pictures of each third frame
    assert judged(shown, rule="reference", interval=5).share == pytest.approx(0.25)


def test_a_picture_moves_where_most_of_it_does() -> None:
    ground = np.random.default_rng(0).integers(0, 256, (72, 256, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    panned = [ground[:, 40 * step : 40 * step + 512] for step in range(6)]
    passing = [ground[:, :512].copy() for _ in range(6)]
    for step, picture in enumerate(passing):
        picture[100:180, 60 * step : 60 * step + 80] = 255
    assert picture_moves(panned) and not picture_moves(passing)

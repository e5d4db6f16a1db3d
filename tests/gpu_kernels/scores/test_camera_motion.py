"""What the camera did, where that is known because a window was moved over a larger picture."""

import cv2
import numpy as np
import pytest

from gpu_kernels.scores.camera_motion import UNKNOWN_STEP, WORDS, Step, camera_motion, camera_step

RATE = 25


def scene() -> np.ndarray:
    """A picture of blobs, 640 by 480."""
    noise = np.random.default_rng(2).uniform(0, 255, (480, 640)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # pyright: ignore


def seen(picture: np.ndarray, pan: float = 0, tilt: float = 0, zoom: float = 0, roll: float = 0) -> np.ndarray:
    """What a camera of 320 by 180 pixels sees that moved so, in pixels, shares and degrees clockwise."""
    turned = cv2.getRotationMatrix2D((320 + pan, 240 - tilt), roll, 1 + zoom)
    turned[:, 2] += [160 - 320 - pan, 90 - 240 + tilt]
    return cv2.warpAffine(picture, turned, (320, 180), flags=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "moved", [{}, {"pan": 2.0}, {"tilt": -3.0}, {"zoom": 0.005}, {"roll": 0.4}, {"pan": -1.5, "tilt": 1.0}]
)
def test_a_step_is_found(moved: dict[str, float]) -> None:
    picture = scene()
    step = camera_step(seen(picture), seen(picture, **moved))
    true = {"pan": 0.0, "tilt": 0.0, "zoom": 0.0, "roll": 0.0} | moved
    assert step.pan * 320 == pytest.approx(true["pan"], abs=0.1)
    assert step.tilt * 320 == pytest.approx(true["tilt"], abs=0.1)
    assert step.zoom == pytest.approx(true["zoom"], abs=0.0005) and step.roll == pytest.approx(true["roll"], abs=0.03)
    assert step.inliers > 0.9 and step.spread == 1


def test_where_there_is_nothing_to_follow_nothing_is_said() -> None:
    grey = np.full((180, 320), 90, np.uint8)
    assert camera_step(grey, grey) == UNKNOWN_STEP
    found = camera_motion(np.array([UNKNOWN_STEP] * 4), np.full(4, 1 / RATE))
    assert (found.label, found.known, found.pan, found.jitter) == ("unknown", 0, None, None)
    assert camera_motion(np.zeros((0, 6)), np.zeros(0)).label == "unknown"


def of(steps: list[Step]) -> str:
    found = camera_motion(np.array(steps), np.full(len(steps), 1 / RATE))
    assert {found.label, *found.labels} <= {*WORDS}
    return found.label


def test_words() -> None:
    def steady(**moved: float) -> str:
        return of([Step(**({"pan": 0, "tilt": 0, "zoom": 0, "roll": 0} | moved), inliers=0.9, spread=0.8)] * 8)

    assert steady() == steady(pan=0.0005) == "static"
    assert steady(pan=0.005) == "pan_right" and steady(pan=-0.005) == "pan_left"
    assert steady(tilt=0.005, pan=0.001) == "tilt_up" and steady(tilt=-0.005, pan=-0.004) == "pan_left_tilt_down"
    assert steady(zoom=0.005) == "zoom_in" and steady(zoom=-0.005) == "zoom_out"
    assert steady(roll=0.4) == "roll_right" and steady(roll=-0.4) == "roll_left"
    assert steady(zoom=0.01, pan=0.005) == "mixed"
    shaken = np.random.default_rng(0).normal(0, 0.01, (20, 2))
    assert of([Step(x, y, 0, 0, 0.9, 0.8) for x, y in shaken]) == "shake"
    assert of([Step(0.005, 0, 0, 0, 0.9, 0.8)] * 4 + [Step(0.5, 0.5, 0, 0, 0.3, 0.8)] * 5) == "unknown"


def test_numbers_are_per_second() -> None:
    found = camera_motion(np.array([Step(0.004, 0, 0.01, 1, 0.9, 1)] * 6), np.full(6, 0.04))
    assert (found.pan, found.zoom, found.roll) == pytest.approx((0.1, 0.25, 25))
    assert found.jitter == pytest.approx(0) and found.static == 0 and found.known == 1

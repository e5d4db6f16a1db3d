"""Sizes of stored frames, and which settings are part of what they are made with."""

import pytest

from gpu_kernels.captioners.frames import fitted_size
from gpu_kernels.media.storyboards import StoryboardsConfig, storyboard_size


@pytest.mark.parametrize("multiple", [28, 32])
def test_frames_of_a_models_multiples_are_not_scaled_for_it(multiple: int) -> None:
    for width, height in [(1920, 1080), (1080, 1920), (1280, 720), (720, 576), (640, 360), (3840, 1600)]:
        size = storyboard_size(width, height, 480, multiple)
        assert min(size) <= 480 + multiple / 2 and not any(side % multiple for side in size)
        assert size[0] / size[1] == pytest.approx(width / height, rel=0.06)
        assert fitted_size(size[1], size[0], 16, multiple) == (size[1], size[0])
    assert storyboard_size(20, 3000, 480, multiple) == (multiple, round(3000 / multiple) * multiple)


def test_frames_that_are_stored_already_hold() -> None:
    assert StoryboardsConfig().settings() == {"frames_per_second": 2.0, "short_side": 480, "jpeg_quality": 90}
    assert StoryboardsConfig(multiple_of=28).settings()["multiple_of"] == 28

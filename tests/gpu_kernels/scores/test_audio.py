"""Shares of sound, of tenths of a second that are made."""

import numpy as np
import pytest

from gpu_kernels.scores.audio import TENTH_NS, AudioScoresConfig, Sound, audio_scores


def loud(tenths: int, first_ns: int = 0) -> Sound:
    """So many tenths of a second of a loud sound, which nobody speaks in."""
    level, none = np.full(tenths, -20, np.float32), np.zeros(tenths, np.float32)
    pts_ns = first_ns + TENTH_NS * np.arange(tenths)
    return Sound(pts_ns, level, level, level, none, none, first_ns, first_ns + tenths * TENTH_NS)


@pytest.mark.parametrize("start_ns", [0, 480_000_000, 466_666_667])
def test_nothing_is_missing_of_a_clip_that_is_heard_throughout(start_ns: int) -> None:
    """Not even a trace of it: `sound_missing_max: 0` would reject the clip."""
    for milliseconds in range(2000, 6000, 7):
        found = audio_scores(loud(80), start_ns, start_ns + milliseconds * 1_000_000 + 333, AudioScoresConfig())
        assert (found.missing, found.silent, found.digital_silence, found.speech) == (0, 0, 0, 0)


def test_a_clip_of_silence_is_silent_throughout_and_what_is_missing_counts() -> None:
    quiet = loud(30)
    quiet.loudness[:], quiet.peak[:] = -120, -120
    for end_ns in (2_345_678_901, 3_000_000_000, 4_234_567_891):  # the last ends after its sound does
        found = audio_scores(quiet, 0, end_ns, AudioScoresConfig())
        assert found.silent == found.digital_silence == 1
        assert found.missing == max(0, end_ns - 3_000_000_000) / end_ns

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpu_kernels.shots.splitting import SECOND, ClipsConfig, Span, clip_spans


def times(frames: int, rate: Fraction | int, clock: int = SECOND) -> np.ndarray:
    """Presentation times in nanoseconds of a constant rate, rounded to whole ticks of a clock."""
    ticks = [round(Fraction(index) / rate * clock) for index in range(frames)]
    return np.array(ticks, np.int64) * (SECOND // clock)


def curve(frames: int, *transitions: int | range) -> np.ndarray:
    probabilities = np.zeros(frames, np.float32)
    for transition in transitions:
        probabilities[transition if isinstance(transition, int) else list(transition)] = 0.9
    return probabilities


def spans_of(probabilities: np.ndarray, pts: np.ndarray, config: ClipsConfig) -> list[Span]:
    """The spans of a video whose last frame is shown as long as the one before it; a single one, for a nanosecond."""
    end = 2 * pts[-1] - pts[-2] if len(pts) > 1 else pts[-1] + 1 if len(pts) else 0
    return clip_spans(probabilities, pts, int(end), config)


def kept(spans: list[Span]) -> list[tuple[int, int]]:
    return [(span.start_frame, span.end_frame) for span in spans if span.dropped is None]


def reference_spans(probabilities: np.ndarray, rate: int, config: ClipsConfig) -> list[tuple[int, int]]:
    """The rules of the reference pipeline in frame counts: bound the length, crop, then drop what is short.

    Its shots differ in one point: here a run of one frame belongs to the shot that it ends.
    """
    shots: list[tuple[int, int]] = []
    start = 0
    index = 0
    while index < len(probabilities):
        run = 0
        while index + run < len(probabilities) and probabilities[index + run] > config.transition_threshold:
            run += 1
        if run:
            shots.append((start, index + 1 if run == 1 else index))
            start = index + run
        index += max(run, 1)
    shots.append((start, len(probabilities)))
    longest, crop = int(config.max_seconds * rate), int(config.crop_seconds * rate)
    shortest = max(math.ceil(config.min_seconds * rate), config.min_frames)
    spans: list[tuple[int, int]] = []
    for start, end in shots:
        pieces = [(at, min(at + longest, end)) for at in range(start, end, longest)]
        for first, last in pieces if config.longer == "stride" else pieces[:1]:
            if last - crop - (first + crop) >= shortest:
                spans.append((first + crop, last - crop))
    return spans


curves = st.builds(
    lambda gaps: np.concatenate([np.r_[np.zeros(gap), np.full(run, 0.9)] for gap, run in gaps]).astype(np.float32),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12)), min_size=1, max_size=8),
).filter(lambda probabilities: len(probabilities) > 0 and not (probabilities > 0.4).all())

configs = st.builds(
    ClipsConfig,
    longer=st.sampled_from(["stride", "truncate"]),
    min_seconds=st.sampled_from([0.0, 0.5, 2.0]),
    min_frames=st.sampled_from([1, 48]),
    max_seconds=st.sampled_from([2.0, 3.5, 60.0]),
    crop_seconds=st.sampled_from([0.0, 0.25, 0.5]),
)


@given(curves, st.sampled_from([8, 10, 24, 25, 30, 50, 60]), configs)
def test_at_whole_rates_spans_are_those_of_the_reference_rules(
    probabilities: np.ndarray, rate: int, config: ClipsConfig
) -> None:
    assume(len(probabilities) > 1)  # how long a single frame is shown, its times do not say
    spans = spans_of(probabilities, times(len(probabilities), rate), config)
    assert kept(spans) == reference_spans(probabilities, rate, config)


@given(
    curves,
    configs,
    st.integers(-(10**12), 10**12),
    st.lists(st.integers(1, 3 * 10**8), min_size=1, max_size=20),
    st.sampled_from(["shots", "fixed_stride"]),
)
def test_spans_lie_in_the_video_in_order_and_within_the_limits(
    probabilities: np.ndarray, config: ClipsConfig, origin: int, gaps: list[int], splitter: str
) -> None:
    frames = len(probabilities)
    config = ClipsConfig.model_validate({**config.model_dump(), "splitter": splitter, "stride_seconds": 1.5})
    pts = origin + np.concatenate([[0], np.cumsum(np.resize(gaps, frames - 1))]).astype(np.int64)
    spans = spans_of(probabilities, pts, config)
    ends = [*pts[1:].tolist(), int(pts[-1] + (pts[-1] - pts[-2] if frames > 1 else 1))]
    at = 0
    for span in spans:
        assert at <= span.start_frame < span.end_frame <= frames
        assert span.start_ns < span.end_ns
        at = span.end_frame
        assert (span.start_ns, span.end_ns) == (pts[span.start_frame], ends[span.end_frame - 1])
        if span.dropped is None and span.end_frame - span.start_frame > 1:
            length = span.end_ns - span.start_ns
            assert length >= config.min_seconds * SECOND - 1000
            if splitter == "shots":
                assert span.end_frame - span.start_frame >= config.min_frames
                # The crop keeps the frame that is shown at its bound, at either end.
                assert length <= config.max_seconds * SECOND + 2000
            else:
                assert ends[span.end_frame - 2] - span.start_ns < 1.5 * SECOND
    if splitter == "fixed_stride":
        assert [span.start_frame for span in spans] == [0, *(span.end_frame for span in spans[:-1])]
        assert at == frames


@pytest.mark.parametrize("clock", [SECOND, 1000, 1_000_000], ids=["ns", "ms", "us"])
@pytest.mark.parametrize(
    ("rate", "frames"),
    [(24, 48), (25, 50), (30, 60), (50, 100), (60, 120), (Fraction(24000, 1001), 48), (Fraction(30000, 1001), 60)],
)
def test_a_clip_of_the_least_length_is_kept_whatever_the_clock(rate: Fraction | int, frames: int, clock: int) -> None:
    """Two seconds, at 29.97 and 23.976 frames per second the least whole frames that are as long; from any frame on."""
    config = ClipsConfig(crop_seconds=0)
    for before in range(1, 8):
        total = before + frames + 40
        probabilities = curve(total, before - 1, before + frames - 1)
        assert kept(spans_of(probabilities, times(total, rate, clock), config)) == [(before, before + frames)]
        shorter = curve(total, before - 1, before + frames - 2)
        assert kept(spans_of(shorter, times(total, rate, clock), config)) == []


def test_lengths_are_measured_in_time_where_the_rate_varies() -> None:
    """Ten frames per second, then fifty: 0.5 s are 5 frames at one end and 25 at the other."""
    pts = np.cumsum([0, *[SECOND // 10] * 100, *[SECOND // 50] * 500])
    (span,) = spans_of(curve(601), pts, ClipsConfig())
    assert (span.start_frame, span.end_frame) == (5, 576)
    assert (span.start_ns, span.end_ns) == (SECOND // 2, pts[576])
    # 60 frames in six seconds are enough; 60 frames in 1.2 s are not.
    spans = spans_of(curve(601, 59, 299, 359), pts, ClipsConfig(crop_seconds=0))
    assert [span.dropped for span in spans] == [None, None, "too_short", None]


def test_pieces_of_a_long_shot_belong_to_it_and_are_no_longer_than_allowed() -> None:
    rate = Fraction(30000, 1001)
    spans = spans_of(curve(5000, 99), times(5000, rate), ClipsConfig(crop_seconds=0, max_seconds=60))
    assert kept(spans) == [(0, 100), (100, 1898), (1898, 3696), (3696, 5000)]  # int(60 s * 29.97) is 1798
    assert [span.shot for span in spans] == [0, 1, 1, 1]
    truncated = spans_of(curve(5000, 99), times(5000, rate), ClipsConfig(crop_seconds=0, longer="truncate"))
    assert kept(truncated) == [(0, 100), (100, 1898)]


def test_fixed_strides_do_not_look_at_the_curve() -> None:
    config = ClipsConfig(splitter="fixed_stride", stride_seconds=2)
    for rate, stride in [(25, 50), (Fraction(30000, 1001), 60)]:
        spans = spans_of(np.zeros(0, np.float32), times(220, rate), config)
        assert kept(spans) == [(at, at + stride) for at in range(0, 220 - stride, stride)]
        assert (spans[-1].end_frame, spans[-1].dropped) == (220, "too_short")


def test_a_long_clip_of_few_frames_is_dropped_for_its_frames() -> None:
    """Forty seconds at one frame per second; a short one at that rate is too short before all."""
    (span,) = spans_of(curve(40), times(40, 1), ClipsConfig())
    assert (span.dropped, span.end_ns - span.start_ns) == ("too_few_frames", 40 * SECOND)
    assert [span.dropped for span in spans_of(curve(41, 39), times(41, 1), ClipsConfig())] == [
        "too_few_frames",
        "too_short",
    ]


@pytest.mark.parametrize("splitter", ["shots", "fixed_stride"])
def test_the_smallest_videos(splitter: str) -> None:
    config = ClipsConfig.model_validate({"splitter": splitter})
    assert spans_of(np.zeros(0, np.float32), np.zeros(0, np.int64), config) == []
    (span,) = clip_spans(curve(1), np.array([7], np.int64), 40, config)
    assert span == Span(0, 0, 1, 7, 40, "too_short")
    (span,) = clip_spans(curve(1), np.array([7], np.int64), 0, config)  # whatever the file says of its end
    assert span.start_ns < span.end_ns


def test_the_last_frame_lasts_until_the_video_ends() -> None:
    pts = np.arange(4) * 15 * SECOND
    (span,) = clip_spans(curve(4), pts, 46 * SECOND, ClipsConfig(crop_seconds=0, min_frames=1))
    assert (span.end_frame, span.end_ns) == (4, 46 * SECOND)


def test_limits_that_no_clip_can_meet_are_refused() -> None:
    with pytest.raises(ValidationError, match="min_seconds"):
        ClipsConfig(min_seconds=5, max_seconds=4)

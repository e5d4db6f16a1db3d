"""Which spans of a clip are captioned, and which storyboard frames stand for each span."""

from collections.abc import Sequence

import numpy as np

MINIMUM_CLIP_FRAMES = 4
MINIMUM_WINDOW_FRAMES = 4


def caption_windows(start_frame: int, end_frame: int, window: int = 256, remainder: int = 128) -> list[tuple[int, int]]:
    """Half-open windows [start, end) that tile the clip [start_frame, end_frame), in order.

    Every window has `window` frames but the last: what is left over becomes a window of its own if it has at least
    `remainder` frames, else it joins the window before. A clip no longer than `window` is one window; a clip shorter
    than 4 frames has none. The rule is that of NVIDIA Cosmos-Curate (frame windows of 256, remainder 128).

    Raises:
        ValueError: end_frame < start_frame, or not 1 <= remainder <= window.
    """
    if not 1 <= remainder <= window:
        raise ValueError(f"remainder must be within 1..window={window}, got {remainder}")
    length = end_frame - start_frame
    if length < 0:
        raise ValueError(f"the clip ends at frame {end_frame}, before its start {start_frame}")
    if length < MINIMUM_CLIP_FRAMES:
        return []
    full, left = divmod(length, window)
    count = max(1, full + (left >= remainder))
    starts = [start_frame + k * window for k in range(count)]
    return list(zip(starts, [*starts[1:], end_frame], strict=True))


def window_frames(
    storyboard: Sequence[int] | np.ndarray, start_frame: int, end_frame: int, max_frames: int = 768
) -> list[int]:
    """Positions in `storyboard` of the frames that represent the window [start_frame, end_frame), ascending.

    `storyboard` holds ascending frame indices. The window is represented by those inside it; by
    the 4 nearest its middle if fewer are inside (all, if the storyboard has fewer). More than `max_frames` are thinned
    to evenly spaced ones, first and last kept. The count is rounded down to an even number unless it is 1, because a
    vision model merges frames in pairs.

    Raises:
        ValueError: the storyboard is empty or not strictly ascending, the window is empty, or max_frames < 4.
    """
    frames = np.asarray(storyboard, dtype=np.int64)
    if frames.ndim != 1 or len(frames) == 0 or (np.diff(frames) <= 0).any():
        raise ValueError("the storyboard must be a non-empty, strictly ascending list of frame indices")
    if end_frame <= start_frame:
        raise ValueError(f"empty window [{start_frame}, {end_frame})")
    if max_frames < MINIMUM_WINDOW_FRAMES:
        raise ValueError(f"max_frames must be at least {MINIMUM_WINDOW_FRAMES}, got {max_frames}")

    chosen = np.flatnonzero((frames >= start_frame) & (frames < end_frame))
    if len(chosen) < MINIMUM_WINDOW_FRAMES:
        # Doubled, so that the middle of an even-length window stays a whole number.
        off_middle = np.abs(2 * frames - (start_frame + end_frame - 1))
        chosen = np.sort(np.argsort(off_middle, kind="stable")[:MINIMUM_WINDOW_FRAMES])
    count = min(len(chosen), max_frames)
    if count == 1:
        return [int(chosen[0])]
    count -= count % 2
    return [int(chosen[k * (len(chosen) - 1) // (count - 1)]) for k in range(count)]

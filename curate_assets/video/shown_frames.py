"""Whether storyboards hold the frames that a model is to be shown."""

import math
from collections.abc import Callable
from typing import Any

from gpu_kernels.captioners.types import CaptionsConfig, PreparedCaptionsConfig
from gpu_kernels.media.storyboards import StoryboardsConfig

_WIDE = 16 / 9
"""Width of the usual picture, by its height."""


def holds_what_is_shown(section: str) -> Callable[[Any], None]:
    """What sees that storyboards hold the frames that a model is to be shown.

    Args:
        section: of the model, a `CaptionsConfig`.
    """

    def agree(config: Any) -> None:
        shown: CaptionsConfig = getattr(config, section)
        board: StoryboardsConfig = config.storyboards
        rate, pixels = shown.frames_per_second, shown.max_pixels if isinstance(shown, PreparedCaptionsConfig) else None
        if rate is not None and rate > board.frames_per_second:
            said, finer = f"frames_per_second is {rate:g}", f"frames_per_second: {rate:g}"
            held = f"{board.frames_per_second:g}"
        elif pixels is not None and pixels > board.short_side**2 * _WIDE:
            said, finer = f"max_pixels is {pixels}", f"short_side: {math.ceil(math.sqrt(pixels / _WIDE))}"
            held = f"pictures of {board.short_side} lines, {int(board.short_side**2 * _WIDE)} pixels at 16:9"
        else:
            return
        raise ValueError(
            f"{section}.{said}, and storyboards hold {held}: set it no higher, or have a finer storyboard for this by "
            f"`variants: {{storyboards: [fine]}}`, `reads: {{{section}: {{storyboards: storyboards_fine}}}}` and "
            f"`storyboards_fine: {{{finer}}}`"
        )

    return agree

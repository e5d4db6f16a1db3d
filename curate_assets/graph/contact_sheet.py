"""A picture for a materialization's page in the UI: some pictures of a shard on one sheet."""

import base64
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np

from gpu_kernels.media.storyboards import decoded

_COLUMNS, _ROWS = 6, 3
SHEET_CELLS = _COLUMNS * _ROWS
"""Pictures on a sheet."""
_CELL = (90, 160)

Item = TypeVar("Item")


def contact_sheet(title: str, jpegs: Iterable[Callable[[], bytes]]) -> str | None:
    """Markdown with the first pictures on a sheet, each read when it is its turn; None if there are none.

    Those that are gone are left out: a page of the UI is no reason for a run to fail.
    """
    pictures: list[np.ndarray] = []
    for jpeg in jpegs:
        if len(pictures) == SHEET_CELLS:
            break
        with suppress(OSError, ValueError):
            pictures.append(decoded(jpeg()))
    return f"![{title}](data:image/jpeg;base64,{_sheet(pictures)})" if pictures else None


def spread(items: Sequence[Item], count: int = SHEET_CELLS) -> list[Item]:
    """At most `count` of the items, in order, evenly from all of them."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _sheet(pictures: list[np.ndarray]) -> str:
    import cv2

    height, width = _CELL
    rows = -(-len(pictures) // _COLUMNS)
    sheet = np.full((rows * (height + 4), min(len(pictures), _COLUMNS) * (width + 4), 3), 24, np.uint8)
    for index, picture in enumerate(pictures):
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        top = index // _COLUMNS * (height + 4) + 2 + (height - size[1]) // 2
        left = index % _COLUMNS * (width + 4) + 2 + (width - size[0]) // 2
        sheet[top : top + size[1], left : left + size[0]] = small
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return base64.b64encode(jpeg.tobytes()).decode()

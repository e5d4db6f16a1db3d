"""A picture for a materialization's page in the UI: what the rows of a shard look like."""

import base64
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from curate_assets.video.clip_files import CLIP_FILES
from curate_assets.video.report.charts import labelled_funnel, standalone
from curate_assets.video.report.funnel import FunnelStep, funnel
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.signals import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboard
from curate_resources.tables import Tables
from gpu_kernels.storyboards import decoded

_COLUMNS, _ROWS = 6, 3
_CELL = (90, 160)
_FUNNEL_WIDTH = 640


def preview(table: str, shard: str, tables: Tables) -> str | None:
    """Markdown with a picture: a contact sheet, for the tables that point at pictures; the funnel of the shard so far,
    for the verdicts; None for the others."""
    if table == CLIP_SELECTION.name:
        steps = funnel(tables, shard=shard)
        return funnel_markdown(steps[: 1 + [step.name for step in steps].index("selected")])
    if table == STORYBOARDS.name:
        pictures = _storyboard_pictures(shard, tables)
    elif table == CLIP_FILES.name:
        stored = tables.read(CLIP_FILES, shard, ["thumbnail"], "status = 'ok'")["thumbnail"].to_pylist()
        pictures = _shown(lambda jpeg=jpeg: jpeg for jpeg in _spread(stored))
    else:
        return None
    return f"![{table} of {shard}](data:image/jpeg;base64,{_sheet(pictures)})" if pictures else None


def funnel_markdown(steps: Sequence[FunnelStep]) -> str:
    """The funnel as a chart and a table."""
    svg = base64.b64encode(standalone(labelled_funnel(steps), _FUNNEL_WIDTH).encode()).decode()
    lines = [
        f"| {step.name} | {step.count} | {', '.join(f'{n} {why}' for why, n in step.lost.items() if n)} |"
        for step in steps
    ]
    head = [f"![Funnel](data:image/svg+xml;base64,{svg})", "", "| step | count | lost |", "|---|---:|---|"]
    return "\n".join([*head, *lines])


def _storyboard_pictures(shard: str, tables: Tables) -> list[np.ndarray]:
    rows = tables.read(STORYBOARDS, shard, where="status = 'ok'")
    videos = sorted(set(rows["video_id"].to_pylist()))
    each = max(1, _COLUMNS * _ROWS // max(1, len(videos)))
    pictures: list[np.ndarray] = []
    for video in videos[: _COLUMNS * _ROWS]:
        board = Storyboard(tables.storage, rows, video)
        positions = _spread(range(len(board.frames)), each)
        pictures += _shown(lambda at=position, board=board: board.jpegs([at])[0] for position in positions)
    return pictures[: _COLUMNS * _ROWS]


def _shown(jpegs: Iterable[Callable[[], bytes]]) -> list[np.ndarray]:
    """Pictures, without those that are gone: a page of the UI is no reason for a run to fail."""
    found: list[np.ndarray] = []
    for jpeg in jpegs:
        with suppress(OSError, ValueError):
            found.append(decoded(jpeg()))
    return found


def _spread(items: Sequence[Any], count: int = _COLUMNS * _ROWS) -> list[Any]:
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

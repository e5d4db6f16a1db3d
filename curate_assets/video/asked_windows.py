"""Workers that ask a model about windows, a request and a row for each: all stages that write captions."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from curate_assets.graph.stage_resources import model_needs
from curate_assets.video.caption_rows import answered
from curate_assets.video.storyboard_frames import Storyboard
from curate_resources.declarations.stage import LiveWorker, Made, Needs, Work
from curate_resources.declarations.table import Row, Table
from curate_resources.models.fetching import ensure
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.asking import Asker
from gpu_kernels.captioners.types import (
    AskedConfig,
    Caption,
    CaptionEngine,
    CaptionRequest,
    ThreadedCaptioner,
    prompt_hash,
)
from gpu_kernels.shots.splitting import SECOND

_MOST_BYTES = 256 << 20
"""Of what all windows hold that a model is asked about at a time."""


@dataclass(frozen=True)
class AskedWindow:
    """A window that a model is asked about.

    Attributes:
        row: its row before anybody was asked.
        size: bytes of its request.
        request: reads it, in a thread.
    """

    row: Row
    size: int
    request: Callable[[], CaptionRequest]


class AskingWorker(LiveWorker):
    """Asks about the windows of all works in the order of their coming, as many at a time as the model takes.

    Args:
        table: the one that it fills.
        windows_of: the windows of a work; it is run in a thread.
        read: what is taken from what the model wrote.
    """

    def __init__(
        self,
        table: Table,
        asker: Asker,
        windows_of: Callable[[Work], Sequence[AskedWindow]],
        read: Callable[[Caption], Caption] = lambda caption: caption,
    ) -> None:
        self._table, self._asker, self._windows_of, self._read = table, asker, windows_of, read

    async def rows(self, work: Work) -> Made:
        windows = await asyncio.to_thread(self._windows_of, work)
        asked = [asyncio.ensure_future(self._answered(window)) for window in windows]
        try:
            return {self._table.name: await asyncio.gather(*asked)}
        finally:
            for each in asked:
                each.cancel()

    async def close(self) -> None:
        await self._asker.close()

    async def _answered(self, window: AskedWindow) -> Row:
        key = f"{window.row['clip_id']}-{window.row['start_frame']}"
        caption = await self._asker.ask(lambda: asyncio.to_thread(window.request), window.size, key)
        return answered(window.row, self._read(caption))


def shown(
    board: Storyboard, positions: Sequence[int], prompt: str | None = None, schema: Mapping[str, Any] | None = None
) -> CaptionRequest:
    """A request about the pictures at some positions of a storyboard."""
    pts_ns = [board.pts_ns[position] for position in positions]
    return CaptionRequest(board.jpegs(positions), [(each - pts_ns[0]) / SECOND for each in pts_ns], prompt, schema)


def not_asked(settings: AskedConfig) -> Row:
    """What the rows of all windows say before anybody was asked."""
    model, revision = settings.identity()
    asked = {"model": model, "model_revision": revision, "prompt_hash": prompt_hash(settings)}
    return {"caption_status": "skipped", "status": "empty", **asked}


def asker_of(settings: AskedConfig) -> Asker | None:
    """Who asks the model of some settings, once it is loaded; None: there is none."""
    captioner = settings.load()
    if captioner is None:
        return None
    engine = captioner if isinstance(captioner, CaptionEngine) else ThreadedCaptioner(captioner, settings.at_once)
    return Asker(engine, _MOST_BYTES)


def asking_needs(section: str) -> Callable[[Any], Needs]:
    """What one worker that asks the model of a section occupies.

    A model of billions of weights has a GPU for itself. A server has its own, wherever it is: one worker keeps it busy,
    and takes no CPU for waiting. There are so many videos under way that windows do not run out.
    """
    return partial(_needs, section)


def fetching(section: str) -> Callable[[Any, Storage], None]:
    """Gets the model of a section onto a machine, once."""
    return partial(_fetch, section)


def without_backend(section: str) -> Callable[[Any], bool]:
    """Whether a section has no backend that could be asked."""
    return partial(_has_none, section)


def _fetch(section: str, config: Any, _: Storage) -> None:
    ensure(getattr(config, section).models(), config.models)


def _has_none(section: str, config: Any) -> bool:
    return getattr(config, section).backend == "none"


def _needs(section: str, config: Any) -> Needs:
    settings: AskedConfig = getattr(config, section)
    needs = Needs(cpus=0, max_workers=1) if settings.runs_on is None else model_needs(settings.runs_on, settings.gpus)
    return replace(needs, at_once=2 * settings.at_once) if settings.at_once > 1 else needs

"""Asking a judge about pairs of captions, blind and in both orders."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.video.asked_windows import asker_of, shown
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.comparison.judgements import Judgement, Judgements
from curate_assets.video.comparison.pairs import CaptionPair
from curate_assets.video.storyboard_frames import Storyboard
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.captioners.asking import Asker
from gpu_kernels.captioners.judge import SCHEMA, JudgeConfig, Winner, read_verdict
from gpu_kernels.captioners.types import CaptionRequest
from gpu_kernels.captioners.windows import window_frames

Result = Literal["a", "b", "tie"]

_QUOTED = 200
"""Characters of an answer without a verdict that are told."""
_COLUMNS = ["video_id", "frame", "pts_ns", "path", "offset", "bytes", "status"]
_AB: dict[Winner, Result] = {"first": "a", "second": "b", "tie": "tie"}
_BA: dict[Winner, Result] = {"first": "b", "second": "a", "tie": "tie"}


@dataclass(frozen=True)
class JudgedPair:
    """A pair and what was said of it.

    Attributes:
        ab, ba: with the first table's caption first, and with the other first; None: there is no judgement.
        failure: why there is none.
    """

    pair: CaptionPair
    ab: Judgement | None
    ba: Judgement | None
    failure: str | None = None

    @property
    def said(self) -> tuple[Result, Result] | None:
        """The better side by each of the orders; None: one of them has no judgement."""
        return (_AB[self.ab.winner], _BA[self.ba.winner]) if self.ab and self.ba else None

    @property
    def agreed(self) -> bool:
        """Whether both orders say the same."""
        return self.said is not None and self.said[0] == self.said[1]

    @property
    def result(self) -> Result | None:
        """The better side; a tie, too, where the orders do not agree."""
        return None if self.said is None else self.said[0] if self.agreed else "tie"


@dataclass(frozen=True)
class Cost:
    """What was asked of the judge now."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


def judged(
    tables: Tables, settings: JudgeConfig, kept: Judgements, pairs: Sequence[CaptionPair]
) -> tuple[list[JudgedPair], Cost]:
    """All pairs with their judgements. Asked is only what is not kept; what is said is kept, unless it is no verdict.

    Raises:
        EngineGivenUp: the judge's engine dies whatever it is asked.
        FileNotFoundError, ValueError: its model is not there, or is not what the backend needs.
    """
    known = [
        JudgedPair(each, kept.find(each.window, each.a, each.b), kept.find(each.window, each.b, each.a))
        for each in pairs
    ]
    if all(each.said for each in known):
        return known, Cost()
    asker = asker_of(settings)
    assert asker is not None, "backend `none` is nobody to ask"
    judge = _Judge(tables, settings, kept, asker)
    try:
        return asyncio.run(judge.all(known)), judge.cost
    finally:
        kept.save()


class _Judge:
    """Asks about some pairs; of as many at a time as keep the model busy."""

    def __init__(self, tables: Tables, settings: JudgeConfig, kept: Judgements, asker: Asker) -> None:
        self._settings, self._kept, self._asker = settings, kept, asker
        self._boards = _Boards(tables, settings.frames_per_second)
        self._under_way = asyncio.Semaphore(2 * settings.at_once)
        self.cost = Cost()

    async def all(self, pairs: Sequence[JudgedPair]) -> list[JudgedPair]:
        tasks = [asyncio.ensure_future(self._completed(each)) for each in pairs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for each in tasks:
                each.cancel()
            await self._asker.close()

    async def _completed(self, known: JudgedPair) -> JudgedPair:
        """A pair, asked about in the orders that have no judgement."""
        if known.said:
            return known
        pair = known.pair
        async with self._under_way:
            try:
                board = await asyncio.to_thread(self._boards.of, pair.shard, pair.window[0])
                positions = window_frames(board.frames, *pair.window[2:], self._settings.max_frames)
                ab, ba = await asyncio.gather(
                    self._asked(pair, board, positions, pair.a, pair.b),
                    self._asked(pair, board, positions, pair.b, pair.a),
                )
            except (OSError, ValueError) as error:
                return replace(known, failure=f"its frames cannot be shown: {error}")
        failure = next((each for each in (ab, ba) if isinstance(each, str)), None)
        return JudgedPair(pair, None if isinstance(ab, str) else ab, None if isinstance(ba, str) else ba, failure)

    async def _asked(
        self, pair: CaptionPair, board: Storyboard, positions: Sequence[int], first: str, second: str
    ) -> Judgement | str:
        """What is said of two captions in one order, or why nothing is. The judge is not told whose they are."""
        if known := self._kept.find(pair.window, first, second):
            return known
        schema = SCHEMA if self._settings.guided else None

        async def request() -> CaptionRequest:
            made = await asyncio.to_thread(shown, board, positions, self._settings.question(first, second))
            return replace(made, schema=schema)

        answer = await self._asker.ask(request, board.size(positions), f"{pair.window[1]}-{pair.window[2]}")
        self.cost = Cost(
            self.cost.requests + 1,
            self.cost.prompt_tokens + (answer.prompt_tokens or 0),
            self.cost.output_tokens + (answer.output_tokens or 0),
        )
        if answer.text is None:
            return f"the judge did not answer ({answer.status}): {answer.failure or 'no reason given'}"
        if (verdict := read_verdict(answer.text)) is None:
            return f"the judge gave no verdict: {answer.text[:_QUOTED]!r}"
        said = Judgement(verdict.winner, verdict.reason, answer.prompt_tokens, answer.output_tokens)
        self._kept.add(pair.window, first, second, said)
        return said


class _Boards:
    """Storyboards by video, read by threads. Pairs come by shard and video, so few are kept."""

    def __init__(self, tables: Tables, frames_per_second: float | None) -> None:
        self._tables, self._rate, self._one_at_a_time = tables, frames_per_second, threading.Lock()
        self._rows = lru_cache(2)(self._rows_of)
        self._board = lru_cache(64)(self._board_of)

    def of(self, shard: str, video_id: str) -> Storyboard:
        """The storyboard of a video.

        Raises:
            ValueError: it has none.
        """
        with self._one_at_a_time:
            return self._board(shard, video_id)

    def _rows_of(self, shard: str) -> pa.Table:
        return self._tables.read(STORYBOARDS, shard, _COLUMNS)

    def _board_of(self, shard: str, video_id: str) -> Storyboard:
        rows = self._rows(shard).filter(pc.field("video_id") == video_id)
        return Storyboard(self._tables.storage, rows, video_id, self._rate)

"""Asking an engine about many windows: always as many as it takes, and again after it died."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from gpu_kernels.captioners.types import Caption, CaptionEngine, CaptionRequest, EngineDied, failed_caption

MOST_DEATHS = 5
"""Deaths in a row, with no answer between them, after which an engine is given up."""


class EngineGivenUp(Exception):
    """An engine dies whatever it is asked."""


class Asker:
    """Keeps an engine busy with requests from anywhere, in one event loop.

    An engine that dies takes all requests with it that are out, and does not say which of them was to blame. It is
    opened again, and each of these is then asked alone: the one that kills it once more fails, the others are answered.

    Args:
        most_bytes: of the frames of all requests that are out; a larger request is out alone.
    """

    def __init__(self, engine: CaptionEngine, most_bytes: int) -> None:
        self._engine = engine
        self._out = _Room(engine.window, most_bytes)
        self._opening = asyncio.Lock()
        self._lives = 0
        self._deaths_in_a_row = 0

    async def ask(self, request: Callable[[], Awaitable[CaptionRequest]], size: int, key: str) -> Caption:
        """The caption of a window.

        Args:
            request: reads the window once it is its turn, so that only what is out takes memory.
            size: bytes of its frames.
            key: names the request; nothing is found by it.

        Raises:
            EngineGivenUp: the engine dies whatever it is asked.
        """
        async with self._out.among_others(size):
            life = self._lives
            try:
                return await self._answer(await request(), key)
            except EngineDied as death:
                await self._open_again(life, death)
        async with self._out.alone():
            life = self._lives
            try:
                return await self._answer(await request(), key)
            except EngineDied as death:
                await self._open_again(life, death)
                return failed_caption(EngineDied(f"the engine died of it, asked alone: {death}"))

    async def close(self) -> None:
        """Let the engine go."""
        await self._engine.close()

    async def _answer(self, request: CaptionRequest, key: str) -> Caption:
        began = time.perf_counter()
        caption = await self._engine.caption(request, key)
        self._deaths_in_a_row = 0
        return replace(caption, seconds=time.perf_counter() - began)

    async def _open_again(self, life: int, death: EngineDied) -> None:
        async with self._opening:
            if self._lives != life:
                return  # another of those that were out did so
            self._deaths_in_a_row += 1
            if self._deaths_in_a_row >= MOST_DEATHS:
                raise EngineGivenUp(f"the engine died {MOST_DEATHS} times and answered nothing in between: {death}")
            await self._engine.reopen()
            self._lives += 1


class _Room:
    """Room for a number of requests and of bytes, in the order of their coming; or for one request alone, before all
    others that wait."""

    def __init__(self, requests: int, most_bytes: int) -> None:
        self._requests, self._most = requests, most_bytes
        self._out = self._bytes = 0
        self._waiting: deque[tuple[int, int, asyncio.Future[None]]] = deque()

    def among_others(self, size: int) -> AbstractAsyncContextManager[None]:
        return self._taken(1, size, self._waiting.append)

    def alone(self) -> AbstractAsyncContextManager[None]:
        return self._taken(self._requests, 0, self._waiting.appendleft)

    @asynccontextmanager
    async def _taken(
        self, places: int, size: int, line_up: Callable[[tuple[int, int, asyncio.Future[None]]], None]
    ) -> AsyncGenerator[None]:
        turn = asyncio.get_running_loop().create_future()
        line_up((places, size, turn))
        self._let_in()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._out -= places
                self._bytes -= size
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            places, size, turn = self._waiting[0]
            fits = self._out + places <= self._requests and (self._bytes + size <= self._most or self._out == 0)
            if not (fits or turn.cancelled()):
                return
            self._waiting.popleft()
            if not turn.cancelled():
                self._out += places
                self._bytes += size
                turn.set_result(None)

"""No answer lands on another window: an engine that says what it was shown, asked by many, shuffled, dying."""

import asyncio
import hashlib
import random
from collections.abc import Callable

import pytest

from gpu_kernels.captioners.asking import MOST_DEATHS, Asker, EngineGivenUp
from gpu_kernels.captioners.types import Caption, CaptionEngine, CaptionRequest, EngineDied

WINDOWS = 10_000
AT_ONCE = 24


def digest(window: CaptionRequest) -> str:
    return hashlib.sha256(b"|".join(window.frames)).hexdigest()


class HashEngine(CaptionEngine):
    """Answers with a digest of the frames that it is given, in any order; dies of some, and now and then by itself.

    Args:
        cached_by: what an answer is kept under, as a real engine keeps what it made of a window's pictures.
    """

    model, revision, window = "hash", "1", AT_ONCE

    def __init__(
        self,
        poison: Callable[[CaptionRequest], bool] = lambda _window: False,
        deaths: frozenset[int] = frozenset(),
        cached_by: Callable[[CaptionRequest, str], str] = lambda window, _key: digest(window),
    ) -> None:
        self.poison, self.deaths, self.cached_by = poison, deaths, cached_by
        self.kept: dict[str, str] = {}
        self.asked = self.out = self.most_out = self.bytes_out = self.most_bytes = self.lives = 0
        self.dead: asyncio.Event = asyncio.Event()
        self.random = random.Random(0)

    async def caption(self, window: CaptionRequest, key: str) -> Caption:
        size = sum(map(len, window.frames))
        self.asked += 1
        self.out += 1
        self.bytes_out += size
        self.most_out, self.most_bytes = max(self.most_out, self.out), max(self.most_bytes, self.bytes_out)
        if self.poison(window) or self.asked in self.deaths:
            self.dead.set()
        dead = self.dead
        try:
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
                if dead.is_set():
                    break
            if dead.is_set():
                raise EngineDied("killed")
            return Caption(self.kept.setdefault(self.cached_by(window, key), digest(window)), "success")
        finally:
            self.out -= 1
            self.bytes_out -= size

    async def reopen(self) -> None:
        assert self.dead.is_set()
        await asyncio.sleep(0)
        self.dead = asyncio.Event()
        self.lives += 1


def windows(count: int) -> list[CaptionRequest]:
    """No two alike; of a clip there are two, under one id."""
    return [CaptionRequest([f"{number}.{frame}".encode() for frame in range(3)], [0, 1, 2]) for number in range(count)]


def asked(engine: HashEngine, requests: list[CaptionRequest], most_bytes: int = 1 << 20) -> list[Caption]:
    async def run() -> list[Caption]:
        asker = Asker(engine, most_bytes)

        async def one(number: int, window: CaptionRequest) -> Caption:
            async def read() -> CaptionRequest:
                return window

            return await asker.ask(read, sum(map(len, window.frames)), f"clip-{number // 2}")

        order = list(enumerate(requests))
        random.Random(1).shuffle(order)
        answers = dict(zip([n for n, _ in order], await asyncio.gather(*(one(*each) for each in order)), strict=True))
        await asker.close()
        return [answers[number] for number in range(len(requests))]

    return asyncio.run(run())


def check(requests: list[CaptionRequest], answers: list[Caption], poisoned: frozenset[int] = frozenset()) -> None:
    for number, (window, answer) in enumerate(zip(requests, answers, strict=True)):
        if number in poisoned:
            assert answer.status == "error" and "died of it, asked alone" in (answer.failure or "")
        else:
            assert (answer.status, answer.text) == ("success", digest(window)), number


def test_every_window_has_its_own_answer_though_the_engine_dies_again_and_again() -> None:
    requests, poisoned = windows(WINDOWS), frozenset(range(100, WINDOWS, 1999))
    bad = {digest(requests[number]) for number in poisoned}
    engine = HashEngine(lambda window: digest(window) in bad, frozenset(range(500, WINDOWS, 777)))
    check(requests, asked(engine, requests), poisoned)
    assert engine.lives >= 2 * len(poisoned) + 8  # each of these killed it twice, and it died by itself
    assert engine.most_out == AT_ONCE
    assert WINDOWS < engine.asked < WINDOWS + AT_ONCE * engine.lives  # asked again: only what was out


def test_an_engine_that_keeps_answers_by_the_id_of_a_clip_is_found_out() -> None:
    requests = windows(100)
    with pytest.raises(AssertionError):
        check(requests, asked(HashEngine(cached_by=lambda _window, key: key), requests))


def test_frames_that_are_out_are_bounded_and_a_large_window_is_out_alone() -> None:
    requests = [*windows(200), CaptionRequest([b"x" * 500], [0.0])]
    engine = HashEngine()
    check(requests, asked(engine, requests, most_bytes=100))
    assert engine.most_bytes == 500 and 1 < engine.most_out < AT_ONCE


def test_an_engine_that_dies_of_everything_is_given_up() -> None:
    engine = HashEngine(lambda _window: True)
    with pytest.raises(EngineGivenUp, match=f"died {MOST_DEATHS} times and answered nothing"):
        asked(engine, windows(50))
    assert engine.lives == MOST_DEATHS - 1

"""Work that waits for answers without a thread for each: generators, resumed when what they wait for is there."""

from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

Steps = Generator[Future[Any], Any, T]
"""Gives what it waits for, is sent the result (or its error is thrown), and ends with what came of it."""


def resumed(steps: Steps[Any], answered: Future[Any] | None = None) -> Future[Any]:
    """What it waits for next; `answered` is what it waited for, None at the beginning.

    Raises:
        StopIteration: it has ended, with its value.
    """
    if answered is None:
        return next(steps)
    try:
        result = answered.result()
    except BaseException as error:
        return steps.throw(error)
    return steps.send(result)


def finished(steps: Steps[T]) -> T:
    """What comes of it, by waiting here."""
    answered: Future[Any] | None = None
    try:
        while True:
            answered = resumed(steps, answered)
            wait([answered])
    except StopIteration as end:
        return end.value


def interleaved(begun: Iterator[Steps[T]], at_once: int) -> Iterator[T]:
    """What comes of each, as they end. Up to `at_once` wait at a time; another is begun only when none can go on."""
    waiting: dict[Future[Any], Steps[T]] = {}
    more = True
    while waiting or more:
        answered = next((future for future in waiting if future.done()), None)
        if answered is None and more and len(waiting) < at_once:
            steps = next(begun, None)
            if steps is None:
                more = False
                continue
        else:
            if answered is None:
                answered = wait(waiting, return_when=FIRST_COMPLETED).done.pop()
            steps = waiting.pop(answered)
        try:
            waiting[resumed(steps, answered)] = steps
        except StopIteration as end:
            yield end.value

"""How long a job may wait for what it runs on: in a queue, for a machine, or for what will never come."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from curate_resources.engines.patience import NoPlace, Wait
from curate_resources.launchers.surroundings import Surroundings

_log = logging.getLogger("curate.engine")
_progress = logging.getLogger("curate.progress")
_FORGET_SECONDS = 60.0
"""Whoever is stuck, is not for a moment, and is again, was all the while: containers that crash start in between."""


@dataclass(frozen=True)
class Patience:
    """How long what is waited for; None: for ever.

    Attributes:
        queue_seconds: a job that has not begun.
        pending_seconds: a pod that is refused, finds no machine or has no image.
        start_seconds: a machine that has been ordered.
    """

    queue_seconds: float | None = None
    pending_seconds: float | None = None
    start_seconds: float | None = None


class Beginning:
    """What a job waits for, and since when."""

    def __init__(self, job: str, patience: Patience) -> None:
        self._job, self._patience = job, patience
        self._queue = self._new_queue()
        self._held: Wait | None = None
        self._told: set[str] = set()
        self._since: dict[str, tuple[float, float]] = {}

    def wait(self, waits_for: str, held: bool) -> None:
        """The job has not begun; `held`: somebody keeps it from beginning on purpose, for which there is no bound.

        Raises:
            NoPlace: it has waited for too long.
        """
        if held:
            self._held = self._held or Wait(f"job {self._job} to be admitted")
            self._held.go_on(waits_for)
            self._queue = self._new_queue()
            return
        self._held = None
        if not self._queue.go_on(waits_for):
            raise NoPlace(
                f"job {self._job} has not begun in {self._queue.seconds / 60:.0f} minutes (cluster.queue_minutes) and "
                f"is stopped: {waits_for}"
            )

    def look_around(self, found: Surroundings) -> None:
        """Say what happened since the last time.

        Raises:
            NoPlace: somebody has been stuck for too long.
        """
        for event, text in found.events.items():
            if event not in self._told:
                self._told.add(event)
                logger, level = (_log, logging.INFO) if event in found.normal else (_progress, logging.WARNING)
                logger.log(level, "%s", text)
        self._judge(found.stuck, "is stuck", self._patience.pending_seconds, "cluster.pending_minutes")
        self._judge(found.growing, "has no machine yet", self._patience.start_seconds, "cluster.start_minutes")

    def _judge(self, waiting: Mapping[str, str], how: str, most: float | None, setting: str) -> None:
        now = time.monotonic()
        for who, why in waiting.items():
            key = f"{who} {how}"
            first, seen = self._since.get(key, (now, now))
            first = first if now - seen <= _FORGET_SECONDS else now
            self._since[key] = first, now
            if most is not None and now - first >= most:
                raise NoPlace(
                    f"job {self._job} is stopped: for {(now - first) / 60:.0f} minutes ({setting}), {who} {how}: {why}"
                )

    def _new_queue(self) -> Wait:
        return Wait(f"job {self._job} to begin", self._patience.queue_seconds)

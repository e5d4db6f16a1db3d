"""What happens while plans run, as typed events: the one source of progress bars, metrics, traces and profiles.

An event is told to the listeners of the process in which it happens. The driver of a job prints those that others show
(`curate_resources.launchers.jobs`), and whoever follows the job tells them to its own listeners.
"""

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from curate_resources.pipeline.commit import Materialized
from curate_resources.pipeline.run_context import about

_log = logging.getLogger("curate.events")
"""What events say in words, for those who read logs."""


@dataclass(frozen=True)
class StageTally:
    """What a stage did for one unit, and what that took of its workers.

    Attributes:
        computed, reused, failed: items.
        bytes: media bytes that the new rows point at.
        tokens: by column that counts a model's tokens, those of the new rows.
        failures: the failed items by the type of their error.
    """

    stage: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    computed: int = 0
    reused: int = 0
    failed: int = 0
    bytes: int = 0
    tokens: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Announced:
    """So many units of a shard are to come; `nouns` is what they are called."""

    plan: str
    shard: str
    total: int
    nouns: str

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.shard}: {self.total} {self.nouns}"


@dataclass(frozen=True)
class UnitDone:
    """A unit is through all stages of its plan.

    Attributes:
        done, total: units of its shard.
        parts: what it was divided into, such as clips.
        failed: failed rows, of all its tables.
        media_seconds: how long it lasts, as far as that is known.
        stages: what each stage did.
        units: how many it stands for: all of its shard where these went through as one.
    """

    plan: str
    shard: str
    source: str
    done: int
    total: int
    nouns: str
    parts: int = 0
    failed: int = 0
    media_seconds: float = 0.0
    stages: tuple[StageTally, ...] = ()
    units: int = 1

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.shard}: {self.done} of {self.total} {self.nouns}"


@dataclass(frozen=True)
class PartsSettled:
    """So many parts of a unit are through, while the rest of it is still to come."""

    parts: int

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.parts} parts are through before their unit is"


@dataclass(frozen=True)
class PoolState:
    """What the workers of a pool are doing, every few seconds; all zero when the run is over.

    Attributes:
        waiting: tasks that could be taken.
        starting, idle, busy: workers.
        died: workers since the run began.
    """

    pool: str
    waiting: int = 0
    starting: int = 0
    idle: int = 0
    busy: int = 0
    died: int = 0

    said = ""


@dataclass(frozen=True)
class StageCall:
    """A worker has computed some items of a unit; told in the worker's process alone. Times are nanoseconds since 1970.

    Attributes:
        segment, segments: where a single item is computed in segments.
    """

    stage: str
    shard: str
    source: str
    items: int
    failed: int
    began: int
    ended: int
    segment: int = 0
    segments: int = 1

    said = ""


@dataclass(frozen=True)
class Committed:
    """A table's rows of a shard were swapped in. Times are nanoseconds since 1970."""

    done: Materialized
    began: int
    ended: int

    said = ""


Event = Announced | UnitDone | PartsSettled | PoolState | StageCall | Committed
Listener = Callable[[Event], None]

_listeners: list[tuple[Listener, bool]] = []


def listen(listener: Listener, own_only: bool = False) -> None:
    """Have a listener told of all events from now on; as `listening`."""
    _listeners.append((listener, own_only))


@contextmanager
def listening(listener: Listener, own_only: bool = False) -> Generator[None]:
    """Have a listener told of all events meanwhile; `own_only`: not of those that are relayed from another process."""
    listen(listener, own_only)
    try:
        yield
    finally:
        _listeners.remove((listener, own_only))


def emit(event: Event, relayed: bool = False) -> None:
    """Tell of an event. A listener that raises costs the run nothing: that is logged."""
    if event.said:
        with about(**{name: getattr(event, name) for name in ("shard", "source") if hasattr(event, name)}):
            _log.info("%s", event.said)
    for listener, own_only in tuple(_listeners):
        if relayed and own_only:
            continue
        try:
            listener(event)
        except Exception:
            _log.warning("%s could not be told to %r", type(event).__name__, listener, exc_info=True)

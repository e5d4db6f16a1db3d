"""What a plan's work belongs to, for logs, traces and profiles. It travels with the plan, and changes no result."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

ID_NAMES = ("run", "shard", "stage", "source")
"""What log records may be about."""

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039


@dataclass(frozen=True)
class RunContext:
    """What a plan is run for.

    Attributes:
        run: Dagster's id of the run; empty outside of any.
        traceparent: the span that everything belongs to, as W3C's header of that name; empty: nothing is traced.
        json_logs: whether logs are written as JSON lines.
        profile: what is profiled, as `engine.profile` says it.
    """

    run: str = ""
    traceparent: str = ""
    json_logs: bool = False
    profile: str = ""


@contextmanager
def about(**ids: str) -> Generator[None]:
    """Have what is logged meanwhile carry these ids, by names of ID_NAMES."""
    token = _about.set({**_about.get(), **ids})
    try:
        yield
    finally:
        _about.reset(token)


def current_ids() -> Mapping[str, str]:
    """The ids of what this thread is working on."""
    return _about.get()

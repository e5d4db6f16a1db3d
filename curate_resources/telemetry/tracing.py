"""Traces with OpenTelemetry: run, step, shard, stage call, commit. The standard OTEL_* variables turn them on.

A trace has the id of its Dagster run, and the ids of spans follow from what they are about. So a span can be made by
the process in which its work was done, after the work and from its event, and still belong to a parent that another
process makes: what travels with a plan into jobs and actors is one `traceparent`.
"""

import hashlib
import logging
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from curate_resources.pipeline.events import Announced, Committed, Event, StageCall
from curate_resources.telemetry.extras import there

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_log = logging.getLogger("curate.telemetry")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FLUSH_MILLISECONDS = 5_000
_NOBODY = "0" * 16

Attributes = Mapping[str, str | int | float | bool]


def asked() -> bool:
    """Whether the environment asks for traces, and the packages are there."""
    named = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or "otlp" not in named.split(",")
    if off or not any(os.environ.get(name) for name in _ENDPOINTS):
        return False
    return _installed()


@cache
def _installed() -> bool:
    if there(_exporter()):
        return True
    _log.warning("no traces: %s is not installed: pip install 'curate-graph[observability]'", _exporter())
    return False


def _exporter() -> str:
    general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general)
    return "opentelemetry.exporter.otlp.proto." + ("grpc" if protocol == "grpc" else "http")


def run_traceparent(run: str) -> str:
    """What belongs to a Dagster run: its trace has the run's id, which is a UUID."""
    trace = run.replace("-", "")
    if len(trace) != 32 or set(trace) - set("0123456789abcdef"):
        trace = hashlib.sha256(run.encode()).hexdigest()[:32]
    return f"00-{trace}-{_NOBODY}-01"


def below(traceparent: str, *what: str) -> str:
    """The span of something below another one."""
    trace, parent = _ids(traceparent)
    return f"00-{trace}-{hashlib.sha256('/'.join((trace, parent, *what)).encode()).hexdigest()[:16]}-01"


def _ids(traceparent: str) -> tuple[str, str]:
    _, trace, span, _ = traceparent.split("-")
    return trace, span


@contextmanager
def traced(name: str, traceparent: str, parent: str, attributes: Attributes) -> Generator[None]:
    """A span of what is done meanwhile, with its error if it raises; `traceparent` is the span's own, which others are
    below."""
    began, error = time.time_ns(), None
    try:
        yield
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
        raise
    finally:
        _span(name, traceparent, parent, began, time.time_ns(), attributes, error)


class Tracing:
    """Makes spans of events; a listener for every process that works on a plan.

    Args:
        traceparent: the span of the step.
    """

    def __init__(self, traceparent: str) -> None:
        self._step = traceparent
        self._begun: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._calls = 0

    def __call__(self, event: Event) -> None:
        """Make the span of an event, if it has one."""
        if isinstance(event, StageCall):
            self._stage_call(event)
        elif isinstance(event, Announced):
            self._begun.setdefault(event.shard, time.time_ns())
        elif isinstance(event, Committed):
            done = event.done
            self._ended[done.shard] = event.ended
            shard = below(self._step, "shard", done.shard)
            own = below(shard, "commit", done.table, str(event.began))
            about: Attributes = {"curate.asset": done.table, "curate.shard": done.shard, "curate.rows": done.rows}
            _span(f"commit {done.table}", own, shard, event.began, event.ended, about)

    def ended(self) -> None:
        """Make the spans of shards, from when their units were known to their last commit."""
        for shard, began in self._begun.items():
            own, ended = below(self._step, "shard", shard), self._ended.get(shard)
            error = "nothing of it was committed" if ended is None else None
            _span(f"shard {shard}", own, self._step, began, ended or time.time_ns(), {"curate.shard": shard}, error)
        flush()

    def _stage_call(self, event: StageCall) -> None:
        shard = below(self._step, "shard", event.shard)
        self._calls += 1
        own = below(shard, "call", event.stage, event.source, str(os.getpid()), str(self._calls))
        about: dict[str, str | int] = {
            "curate.stage": event.stage,
            "curate.shard": event.shard,
            "curate.source": event.source,
            "curate.items": event.items,
            "curate.failed": event.failed,
        }
        if event.segments > 1:
            about |= {"curate.segment": event.segment, "curate.segments": event.segments}
        _span(event.stage, own, shard, event.began, event.ended, about)


def flush() -> None:
    """Send what was not sent yet: this process may be killed next."""
    if _provider.cache_info().currsize:
        _provider().force_flush(_FLUSH_MILLISECONDS)


def _span(
    name: str,
    traceparent: str,
    parent: str,
    began: int,
    ended: int,
    attributes: Attributes,
    error: str | None = None,
) -> None:
    """One span with ids of its own; whether it is sent is up to the sampler, which is asked about the trace."""
    from opentelemetry.sdk.trace.sampling import Decision
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )

    provider = _provider()
    trace, own = _ids(traceparent)
    trace_id = int(trace, 16)
    # Asked as of a root: every process then decides the same of a trace, whoever makes which of its spans.
    chosen = provider.sampler.should_sample(None, trace_id, name).decision
    if chosen is Decision.DROP:
        return
    _, above = _ids(parent)
    context = None
    if above != _NOBODY:
        remote = SpanContext(trace_id, int(above, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        context = set_span_in_context(NonRecordingSpan(remote))
    _given_ids().give(trace_id, int(own, 16))
    span = provider.get_tracer("curate").start_span(name, context, attributes=attributes, start_time=began)
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error))
    span.end(ended)


@cache
def _given_ids() -> Any:
    import threading

    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class GivenIds(IdGenerator):
        """The ids that were given last by the same thread."""

        def __init__(self) -> None:
            self._given = threading.local()

        def give(self, trace_id: int, span_id: int) -> None:
            self._given.trace_id, self._given.span_id = trace_id, span_id

        def generate_trace_id(self) -> int:
            return self._given.trace_id

        def generate_span_id(self) -> int:
            return self._given.span_id

    return GivenIds()


@cache
def _provider() -> "TracerProvider":
    """Ours, not the process's: what other libraries trace is theirs."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter: Any = import_module(f"{_exporter()}.trace_exporter").OTLPSpanExporter
    known = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = {} if known else {"service.name": "curate-graph"}
    resource = Resource.create({**named, "host.name": os.uname().nodename, "process.pid": os.getpid()})
    provider = TracerProvider(resource=resource, id_generator=_given_ids())
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    return provider

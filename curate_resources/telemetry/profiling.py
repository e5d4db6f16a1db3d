"""Profiles of stages, taken in the processes of their workers and written to `<root>/profiles/<run>/`.

    cpu     where a worker's thread spends its time: pyinstrument, an HTML page
    memory  what its process allocates: memray's own format, which `curate profile open` draws
    gpu     operators and kernels of torch: a Chrome trace
    events  every call of a stage, when, where and of what: a Chrome trace

Each is of all stages, or of one: `cpu:embed`. Processes that a worker starts, such as decoders, are not in the first
three; the time that it waits for them is.
"""

import json
import logging
import os
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from curate_resources.pipeline.events import StageCall
from curate_resources.pipeline.plan import Plan
from curate_resources.telemetry.extras import needed, there

_log = logging.getLogger("curate.telemetry")

FOLDER = "profiles"
"""Below the root."""

KINDS = {"cpu": "html", "memory": "memray", "gpu": "trace.json.gz", "events": "trace.json"}
"""Each with what the names of its files end with."""

_EXTRA = "pip install 'curate-graph[profiling]' where the stage's workers run"
_MODULES = {"cpu": ("pyinstrument", _EXTRA), "memory": ("memray", _EXTRA), "gpu": ("torch", "install torch")}
"""What takes them, each with the remedy where it is not there."""
_GPU_CALLS = 50
"""Calls of a stage whose kernels are recorded: a trace of all would be gigabytes."""
_INTERVAL_SECONDS = 0.002


def parsed(asked: str) -> tuple[tuple[str, str | None], ...]:
    """Kinds and stages (None: all) from text such as `cpu,memory:embed`.

    Raises:
        ValueError: there is no such kind.
    """
    found: list[tuple[str, str | None]] = []
    for each in filter(None, (part.strip() for part in asked.split(","))):
        kind, _, stage = each.partition(":")
        if kind not in KINDS:
            raise ValueError(
                f"there is no profile {kind!r}: {', '.join(KINDS)}, each also of one stage, as in cpu:embed"
            )
        found.append((kind, stage or None))
    return tuple(found)


def check_profile(asked: str) -> None:
    """See that what is asked for can be taken with the packages of this process.

    Raises:
        MissingPackage: what takes it is not installed.
    """
    for kind, _ in parsed(asked):
        if kind in _MODULES:
            module, remedy = _MODULES[kind]
            needed(module, f"engine.profile: {kind}", remedy)


class Profiles:
    """The profiles that one process takes of the stages of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kinds = {stage.name: self._of(stage.name) for stage in plan.stages} if plan.context.profile else {}
        self._takers: dict[tuple[str, str], Any] = {}
        self._calls: dict[str, list[StageCall]] = {}
        self._written = 0

    def _of(self, stage: str) -> tuple[str, ...]:
        asked = parsed(self._plan.context.profile)
        return tuple(dict.fromkeys(kind for kind, only in asked if only in (None, stage)))

    @contextmanager
    def during(self, stage: str) -> Generator[None]:
        """What is done meanwhile is a stage's work."""
        takers = [taker for kind in self._kinds.get(stage, ()) if (taker := self._taker(kind, stage)) is not None]
        for taker in takers:
            taker.begin()
        try:
            yield
        finally:
            for taker in reversed(takers):
                taker.end()

    def called(self, call: StageCall) -> None:
        """Note a call, where events are asked for."""
        if "events" in self._kinds.get(call.stage, ()):
            self._calls.setdefault(call.stage, []).append(call)

    def write(self) -> None:
        """Put what was taken under the root. A profile that cannot be written costs a run nothing."""
        takers, self._takers = self._takers, {}
        calls, self._calls = self._calls, {}
        contents = [(kind, stage, taker.content) for (kind, stage), taker in takers.items()]
        contents += [("events", stage, lambda own=own: chrome_trace(own)) for stage, own in calls.items()]
        for kind, stage, content in contents:
            try:
                self._plan.storage.write(self._path(kind, stage), content())
            except Exception:
                _log.warning("the %s profile of %s was not written", kind, stage, exc_info=True)

    def _path(self, kind: str, stage: str) -> str:
        self._written += 1
        process = f"{os.uname().nodename}-{os.getpid()}-{self._written}"
        return f"{FOLDER}/{self._plan.context.run or 'no-run'}/{stage}-{process}.{KINDS[kind]}"

    def _taker(self, kind: str, stage: str) -> Any:
        if kind == "events":
            return None
        alike = [name for name, kinds in self._kinds.items() if kind in kinds]
        # Of memory and of torch a process has one profile, of whatever stages it runs.
        key = (kind, stage if kind == "cpu" or len(alike) == 1 else "stages")
        if key not in self._takers:
            module = _MODULES[kind][0]
            if not there(module):
                _log.warning("no %s profile of %s: its workers have no %s", kind, stage, module)
                self._kinds[stage] = tuple(each for each in self._kinds[stage] if each != kind)
                return None
            self._takers[key] = {"cpu": _Cpu, "memory": _Memory, "gpu": _Gpu}[kind]()
        return self._takers[key]


class _Cpu:
    """Samples of the thread that works; threads and processes that it starts are not among them. What another stage
    does in the middle of a call, on the beginning of a unit, is that stage's."""

    _nested: ClassVar[list["_Cpu"]] = []

    def __init__(self) -> None:
        from pyinstrument import Profiler

        self._profiler = Profiler(interval=_INTERVAL_SECONDS, async_mode="disabled")
        self._sessions: list[Any] = []

    def begin(self) -> None:
        if self._nested:
            self._nested[-1]._stop()
        self._nested.append(self)
        self._profiler.start()

    def end(self) -> None:
        self._stop()
        self._nested.pop()
        if self._nested:
            self._nested[-1]._profiler.start()

    def _stop(self) -> None:
        self._sessions.append(self._profiler.stop())
        self._profiler.reset()

    def content(self) -> bytes:
        """A page of its own."""
        from pyinstrument.renderers import HTMLRenderer
        from pyinstrument.session import Session

        sessions = self._sessions
        while len(sessions) > 1:  # by halves: each joining copies all samples
            pairs = zip(sessions[::2], sessions[1::2], strict=False)
            odd = sessions[-1:] if len(sessions) % 2 else []
            sessions = [*(Session.combine(*pair) for pair in pairs), *odd]
        return HTMLRenderer().render(sessions[0]).encode()


class _Memory:
    """Every allocation of the process from the first call on, whoever makes it."""

    def __init__(self) -> None:
        import memray

        descriptor, self._path = tempfile.mkstemp(suffix=".memray")
        os.close(descriptor)
        self._tracker = memray.Tracker(destination=memray.FileDestination(self._path, overwrite=True))
        self._tracker.__enter__()

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def content(self) -> bytes:
        """As memray reads it."""
        self._tracker.__exit__(None, None, None)
        try:
            return Path(self._path).read_bytes()
        finally:
            Path(self._path).unlink()


class _Gpu:
    """What torch does in the first calls, on the CPU and, where there is one, on the GPU."""

    def __init__(self) -> None:
        import torch
        from torch.profiler import ProfilerActivity, profile

        there_is_one = torch.cuda.is_available()
        if not there_is_one:
            _log.warning("the gpu profile has no kernels, because this process sees no GPU")
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if there_is_one else [])]
        self._profiler = profile(activities=activities)
        self._left, self._running = _GPU_CALLS, False

    def begin(self) -> None:
        if self._left == _GPU_CALLS:
            self._profiler.start()
            self._running = True
        self._left -= 1

    def end(self) -> None:
        if self._left <= 0:
            self._stop()

    def content(self) -> bytes:
        """A Chrome trace, compressed."""
        self._stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{time.time_ns()}.json.gz"
            self._profiler.export_chrome_trace(str(path))
            return path.read_bytes()

    def _stop(self) -> None:
        if self._running:
            self._profiler.stop()
            self._running = False


def chrome_trace(calls: Sequence[StageCall]) -> bytes:
    """Calls of this process as Chrome's and Perfetto's trace format. Times are microseconds since 1970."""
    process = os.getpid()
    names: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": process, "args": {"name": f"{os.uname().nodename} {process}"}}
    ]
    threads = {stage: number for number, stage in enumerate(dict.fromkeys(call.stage for call in calls), 1)}
    names += [
        {"ph": "M", "name": "thread_name", "pid": process, "tid": number, "args": {"name": stage}}
        for stage, number in threads.items()
    ]
    events = [
        {
            "ph": "X",
            "name": call.stage,
            "cat": "stage",
            "pid": process,
            "tid": threads[call.stage],
            "ts": call.began / 1e3,
            "dur": (call.ended - call.began) / 1e3,
            "args": {"shard": call.shard, "source": call.source, "items": call.items, "failed": call.failed},
        }
        for call in calls
    ]
    return json.dumps({"traceEvents": [*names, *events], "displayTimeUnit": "ms"}).encode()

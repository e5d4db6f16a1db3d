"""A plan that is driven inside a cluster: its specification, the ledger of what it committed, and following both.

The driver of a plan makes thousands of calls to its actors, so off this machine it runs as a job of the cluster. What
it was asked for and what it has finished lie in storage. Whoever follows the job may go away and come back: a job that
is running is found by what it was asked for, and not submitted twice.
"""

import hashlib
import json
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from curate_resources.engines import interruption
from curate_resources.engines.patience import ClusterUnreachable, Wait
from curate_resources.launchers.aside import Aside
from curate_resources.launchers.beginning import Beginning, Patience
from curate_resources.launchers.surroundings import Surroundings
from curate_resources.pipeline.commit import Materialized
from curate_resources.pipeline.events import Announced, Committed, Event, PartsSettled, PoolState, UnitDone, emit
from curate_resources.pipeline.run import Mode
from curate_resources.pipeline.run_context import ID_NAMES, RunContext, about
from curate_resources.storage.retries import with_retries
from curate_resources.storage.root import Storage
from gpu_kernels.errors import OperatingError

_log = logging.getLogger("curate.engine")

_Answer = TypeVar("_Answer")

_LOG_SECONDS, _LAST_LOG_SECONDS = 2.0, 5.0
"""How often a job's log is read at most, and how long its last lines are waited for."""
_LOOK_SECONDS, _LATER_SECONDS = 5.0, 30.0
"""How often what is around a job is looked at, before and after it has begun."""

_EVENTS: Mapping[str, TypeAdapter[Event]] = {
    kind.__name__: TypeAdapter(kind) for kind in (Announced, UnitDone, PartsSettled, PoolState)
}
"""What the driver of a job tells to whoever follows it. Its commits are in the ledger."""


class JobFailed(OperatingError):
    """A job that ended without having done its work; the message is the driver's, or the cluster's."""


class JobLost(JobFailed):
    """It ended by a fault that passes: asked for once more, the work may well be done."""


class ClusterRefuses(ClusterUnreachable):
    """It answers, and asking again would not help."""


class JobSpec(BaseModel):
    """What a job is asked for.

    Attributes:
        stages: names of the stages, in the order of flow.
        config: the whole configuration, as plain values.
        context: what it is asked for by; the same work is the same for another run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    root: str
    stages: tuple[str, ...]
    wanted: tuple[str, ...]
    shards: tuple[str, ...]
    config: dict[str, Any]
    force: bool = False
    failed_only: bool = False
    mode: Mode = "auto"
    context: RunContext = RunContext()

    @property
    def digest(self) -> str:
        """The same for the same work."""
        text = json.dumps(self.model_dump(mode="json", exclude={"context"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Ledger:
    """What a job has committed, one file per table and shard under `<root>/jobs/<job>/`, and how it ended."""

    storage: Storage
    job: str

    @property
    def _folder(self) -> str:
        return f"jobs/{self.job}"

    def specify(self, spec: JobSpec) -> None:
        """Write down what the job is asked for."""
        self.storage.write(f"{self._folder}/spec.json", spec.model_dump_json(indent=1).encode())

    def spec(self) -> JobSpec:
        """What the job is asked for."""
        return JobSpec.model_validate_json(self.storage.read(f"{self._folder}/spec.json"))

    def record(self, number: int, done: Materialized) -> None:
        """Note what was committed; entries are numbered in order."""
        name = f"{number:06d}-{done.table}-{done.shard}.json"
        self.storage.write(f"{self._folder}/done/{name}", json.dumps(asdict(done)).encode())

    def begin(self) -> list[Materialized]:
        """What is there already: a cluster that lost its head, or was suspended, starts the driver of a job again."""
        if self.end() is not None:
            self.storage.delete(f"{self._folder}/end.json")
        return self.entries(0)

    def entries(self, after: int) -> list[Materialized]:
        """What was committed after the first `after` entries, in order."""
        names = self.storage.files(f"{self._folder}/done")[after:]
        return [Materialized(**json.loads(self.storage.read(f"{self._folder}/done/{name}"))) for name in names]

    def close(self, error: str | None, passes: bool = False) -> None:
        """Note how the job ended; `passes`: whether the error may be gone when it is asked for once more."""
        self.storage.write(f"{self._folder}/end.json", json.dumps({"error": error, "passes": passes}).encode())

    def end(self) -> Mapping[str, Any] | None:
        """How the job ended; None if it did not, or not in a way that it could tell."""
        path = f"{self._folder}/end.json"
        return json.loads(self.storage.read(path)) if self.storage.exists(path) else None


@dataclass(frozen=True)
class JobState:
    """A job's status, as its cluster reports it.

    Attributes:
        message: what the cluster says of it.
        waits_for: what a job that counts as running has yet to get before it begins; empty once it has begun.
        held: it is kept from beginning on purpose, as in a queue.
        passes: of one that failed without a word of its own: whether it may end otherwise when it is asked for again.
    """

    phase: Literal["running", "succeeded", "failed", "stopped"]
    message: str = ""
    waits_for: str = field(default="", compare=False)
    held: bool = field(default=False, compare=False)
    passes: bool = field(default=True, compare=False)


class JobServer(Protocol):
    """What runs jobs: a Ray cluster's job server, or Kubernetes."""

    def submit(self, job: str, command: str) -> None:
        """Start a job; one that is there already is left alone."""
        ...

    def state(self, job: str) -> JobState | None:
        """A job's status; None if it is not known."""
        ...

    def log(self, job: str) -> str:
        """What a job has printed so far; empty where that cannot be had at once."""
        ...

    def surroundings(self, job: str) -> Surroundings | None:
        """What is said of what a job runs on; None where that cannot be had at once."""
        ...

    def stop(self, job: str) -> None:
        """End a job that runs."""
        ...


def run_job(
    spec: JobSpec,
    server: JobServer,
    python: str,
    poll_seconds: float = 1.0,
    answer_seconds: float = 120.0,
    patience: Patience | None = None,
) -> Iterator[Materialized]:
    """Have a cluster do what `spec` asks for; yields what was committed, as it comes.

    Whoever stops iterating, also by an interrupt, stops the job. A process that is killed does not: the next that asks
    for the same work takes the running job over.

    Args:
        answer_seconds: how long a server that does not answer is waited for.
        patience: how long a job may wait for its cluster; None: for ever.

    Raises:
        JobFailed: the job ended with an error, or was stopped by somebody.
        ClusterUnreachable: the server does not answer. The job may go on; the next run takes it over.
        NoPlace: the job did not begin in time, or a part of its cluster did not, and it was stopped.
    """
    storage, asked = Storage(spec.root), _Patient(server, answer_seconds)
    job = _running(spec, storage, asked)
    taken_over = job is not None
    job = job or _next_name(spec, storage)
    over = False
    try:
        if taken_over:
            _log.info("job %s does the same work already and is followed", job)
        else:
            command = shlex.join([python, "-m", "curate_assets.job", spec.root, job])
            Ledger(storage, job).specify(spec)
            asked.submit(job, command)
            _log.info("job %s was submitted", job)
        beginning = Beginning(job, patience or Patience())
        yield from _followed(job, Ledger(storage, job), asked, poll_seconds, beginning)
        over = True
    except (JobFailed, ClusterUnreachable):
        over = True  # a job that cannot be reached may go on: the next run takes it over
        raise
    finally:
        if not over:
            interruption.notice()
            _stop(job, server)


def _stop(job: str, server: JobServer) -> None:
    try:
        server.stop(job)
    except ClusterUnreachable as error:  # what ends the run is more important
        _log.warning("job %s may go on: %s; the next run of the same work takes it over", job, error)


def _followed(
    job: str, ledger: Ledger, server: JobServer, poll_seconds: float, beginning: Beginning
) -> Iterator[Materialized]:
    seen = printed = 0
    log = Aside(lambda: server.log(job), _LOG_SECONDS)
    around = Aside(lambda: server.surroundings(job), _LOOK_SECONDS)
    while True:
        state = server.state(job)  # first: what was committed before it ended is then in the ledger
        for done in ledger.entries(seen):
            seen += 1
            emit(Committed(done, *2 * (time.time_ns(),)), relayed=True)
            yield done
        printed = relay(log.take() or "", printed)
        if state is None:
            raise JobLost(f"job {job} is not known to the cluster any more: was it started anew? Run again")
        if state.phase != "running":
            break
        around.every_seconds = _LOOK_SECONDS if state.waits_for else _LATER_SECONDS
        if state.waits_for:
            beginning.wait(state.waits_for, state.held)
        if not state.held and (found := around.take()) is not None:
            beginning.look_around(found)
        time.sleep(poll_seconds)
    relay(log.last(_LAST_LOG_SECONDS) or "", printed)
    end = ledger.end()
    if end is None or state.phase == "stopped":
        kind = JobFailed if state.phase == "stopped" or not state.passes else JobLost
        raise kind(f"job {job} {state.phase} before it finished: {state.message}".strip())
    if end["error"] is not None:
        raise (JobLost if end.get("passes") else JobFailed)(str(end["error"]))


@dataclass(frozen=True)
class _Patient:
    """A server that may be away for a moment, and is then asked again."""

    server: JobServer
    most_seconds: float

    def submit(self, job: str, command: str) -> None:
        self._asked(lambda: self.server.submit(job, command))

    def state(self, job: str) -> JobState | None:
        return self._asked(lambda: self.server.state(job))

    def log(self, job: str) -> str:
        return self.server.log(job)

    def surroundings(self, job: str) -> Surroundings | None:
        return self.server.surroundings(job)

    def stop(self, job: str) -> None:
        self.server.stop(job)

    def _asked(self, ask: Callable[[], _Answer]) -> _Answer:
        wait = Wait("what runs jobs to answer", self.most_seconds)

        def away(error: BaseException) -> bool:
            unreachable = isinstance(error, ClusterUnreachable) and not isinstance(error, ClusterRefuses)
            return unreachable and wait.go_on(str(error))

        return with_retries(ask, away, None, lambda _: 2.0)


def relay(log: str, printed: int) -> int:
    """Log the new lines of a driver as if they were our own, and tell of its events; returns how much of the log is
    known now."""
    if 0 < len(log) < printed:
        printed = 0  # the file was started again
    complete = log.rfind("\n") + 1
    for line in log[printed:complete].splitlines():
        try:
            said = json.loads(line)
            if "event" in said:
                emit(_EVENTS[said.pop("event")].validate_python(said), relayed=True)
            else:
                level = logging.getLevelNamesMapping()[said["level"]]
                with about(**{name: said[name] for name in ID_NAMES if name in said}):
                    logging.getLogger(said["logger"]).log(level, "%s", said["message"])
        except (ValueError, TypeError, KeyError):
            _log.debug("%s", line)
    return max(printed, complete)


def print_event(event: Event) -> None:
    """Print an event as a JSON line, for `relay` at the other end."""
    if type(event).__name__ in _EVENTS:
        print(json.dumps({"event": type(event).__name__, **asdict(event)}), flush=True)


def _names(spec: JobSpec, storage: Storage) -> Sequence[str]:
    return [name for name in storage.folders("jobs") if name.startswith(f"curate-{spec.digest}-")]


def _running(spec: JobSpec, storage: Storage, server: JobServer) -> str | None:
    for job in reversed(_names(spec, storage)):
        state = server.state(job)
        if state is not None and state.phase == "running":
            return job
    return None


def _next_name(spec: JobSpec, storage: Storage) -> str:
    taken = _names(spec, storage)
    number = int(taken[-1].rsplit("-", 1)[1]) + 1 if taken else 1
    return f"curate-{spec.digest}-{number:04d}"

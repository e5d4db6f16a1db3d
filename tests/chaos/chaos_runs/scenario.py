"""What a seed stands for: one disturbance, its moment, and the run that it happens to."""

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from chaos_runs.control import Drop, Moment
from chaos_runs.user import Scope, Way

Kind = Literal[
    "engine",
    "decoder",
    "disk full",
    "dropped write",
    "Dagster run",
    "worker",
    "node",
    "job driver",
    "follower",
    "head",
]
KINDS: tuple[Kind, ...] = Kind.__args__
"""In this order: ten seeds in a row have one of each, the first five without a cluster."""

_COMMITS: dict[Scope, int] = {"curation": 16, "resumed": 16, "delivery": 7}
_FILES: dict[Scope, int] = {"curation": 5, "resumed": 5, "delivery": 8}
_CPU_SECONDS: dict[Scope, float] = {"curation": 7.5, "resumed": 3.5, "delivery": 1.0}
_CPU_SECONDS_ON_CLUSTER: dict[Scope, float] = {"curation": 16.0, "resumed": 6.0, "delivery": 4.0}
"""A little less than undisturbed runs take, with the imports of actors: later moments would be missed."""


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        kind: what is disturbed: the process of the in-process engine; a decoding child or its nursery; the disk, which
            is full; a write to storage, which fails; a Dagster run; an actor's process; a worker node; the driver of a
            submitted job; the Dagster run that follows a job; the head and with it the whole cluster.
        runs_on: the engine in the user's process, actors of a cluster that this process drives, or a submitted job.
        victim: which of several processes, as a number to be taken modulo how many there are.
        interrupt: SIGINT, as Ctrl-C sends it, instead of SIGKILL.
        room: the part of the bytes needed that the disk has.
    """

    seed: int
    kind: Kind
    scope: Scope
    way: Way
    runs_on: Literal["in_process", "actors", "job"]
    moment: Moment
    victim: int
    interrupt: bool = False
    room: float = 1.0
    drop: Drop | None = None

    def __str__(self) -> str:
        when: Any = self.drop or (f"at {self.room:.0%} of what is needed" if self.kind == "disk full" else self.moment)
        signal = " (interrupted)" if self.interrupt else ""
        return f"seed {self.seed}: {self.kind}{signal}, {when}, {self.scope} by {self.way} {self.runs_on}"

    @property
    def survives(self) -> bool:
        """Whether the disturbed run itself must do all of its work: it is built to get over this."""
        return self.kind in ("worker", "node", "decoder")

    @property
    def on_cluster(self) -> bool:
        """Whether it needs the cluster."""
        return self.runs_on != "in_process"


def scenario(seed: int) -> Scenario:
    """The same seed is always the same scenario."""
    chance = Random(seed)
    kind = KINDS[seed % len(KINDS)]
    scope: Scope = chance.choice(["curation", "resumed", "resumed", "delivery", "delivery"])
    runs_on: Any = "in_process"
    if kind in ("worker", "node"):
        runs_on = "actors"
    elif kind in ("job driver", "follower"):
        runs_on = "job"
    elif kind == "head":
        runs_on = chance.choice(["actors", "job"])
    if runs_on == "job" and scope == "delivery":
        scope = "resumed"  # duplicates are found without a job
    way: Way = "dagster" if kind in ("Dagster run", "follower") else "plan"
    most = (_CPU_SECONDS if runs_on == "in_process" else _CPU_SECONDS_ON_CLUSTER)[scope]
    moment = Moment(cpu_seconds=chance.uniform(0, most))
    if kind != "decoder" and chance.random() < 0.6:  # a decoder does not run while its worker waits for a commit
        moment = Moment(chance.choice(["before", "after"]), chance.randrange(_COMMITS[scope]))
    drop = None
    if kind == "dropped write":
        of = chance.choice(["media", "table"])
        number = chance.randrange((_FILES if of == "media" else _COMMITS)[scope])
        drop = Drop(of, number, chance.random() < 0.5)
    return Scenario(
        seed,
        kind,
        scope,
        way,
        runs_on,
        moment,
        victim=chance.randrange(1 << 16),
        interrupt=kind in ("Dagster run", "follower") and chance.random() < 0.4,
        room=chance.uniform(0.05, 0.95) if kind == "disk full" else 1.0,
        drop=drop,
    )

"""One scenario from start to verdict: a run that is disturbed, and the same run again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from chaos_runs import processes
from chaos_runs.control import Control
from chaos_runs.job import interpreter
from chaos_runs.scenario import Scenario
from chaos_runs.user import Order, wanted
from chaos_runs.verdict import Claim, claims, differences, holes, rubbish

_END_SECONDS = 400
"""A run that takes longer hangs."""

_GONE_SECONDS = 60
"""So long after a run may its processes take to end."""

_SCANNED = ("source_videos", "shot_signals")
_MARK = "LC_CURATE_CHAOS"  # decoding processes are given no variables but such
_WORKER = "^ray::StageActor"
_ACTORS = rf"{_WORKER}|gpu_kernels\.sandbox"
_DECODERS = r"gpu_kernels\.sandbox|ffmpeg"
_PAGE = 4096

_Victim = TypeVar("_Victim", int, str)


@dataclass
class Outcome:
    """What came of a scenario; `violations` is empty when everything held."""

    scenario: Scenario
    struck: str = "missed"
    error: str | None = None
    claimed: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        held = "; ".join(self.violations) or "holds"
        ended = f"ended with {self.error[:110]!r}" if self.error else "ended well"
        return f"{self.scenario} [{self.struck}; {ended}; {self.claimed} claims]: {held}"


class Trial:
    """One scenario on a root of its own.

    Args:
        root: with the library added and nothing materialized: `Root` of the tests.
        finished: where everything was materialized undisturbed.
        cluster: a `LoopbackCluster`, for scenarios that need one.
        folder: an empty one.
    """

    def __init__(self, scenario: Scenario, root: Any, finished: Any, cluster: Any, folder: Path) -> None:
        self._scenario, self._finished, self._cluster = scenario, finished, cluster
        self._outcome = Outcome(scenario)
        self._control = Control(folder / "control")
        self._control.folder.mkdir()
        self._root, self._disk = root, folder / "disk"
        self._names = wanted(scenario.scope)
        self._strikes: dict[str, Callable[[subprocess.Popen[bytes]], str | None]] = {
            "engine": self._signal_user,
            "Dagster run": self._signal_user,
            "follower": self._signal_user,
            "decoder": self._kill_decoder,
            "worker": self._kill_worker,
            "node": self._kill_node,
            "head": self._kill_cluster,
            "job driver": self._kill_job_driver,
        }

    def run(self) -> Outcome:
        """Do it all."""
        self._prepare()
        with self._on_small_disk() as enlarge:
            try:
                made = self._disturbed()
                self._outcome.violations += holes(made, self._root, self._finished)
                enlarge()
                self._again(made)
                self._outcome.violations += differences(self._names, self._root, self._finished)
                self._outcome.violations += rubbish(self._root)
            finally:
                processes.kill(self._left())
        return self._outcome

    # ---------------------------------------------------------------- the two runs

    def _disturbed(self) -> set[Claim]:
        scenario, outcome, control = self._scenario, self._outcome, self._control
        if scenario.drop is not None:
            control.drop(scenario.drop)
            outcome.struck = "set"
        elif scenario.moment.when is not None:
            control.hold(scenario.moment)
        user = self._start()
        strike = self._strikes.get(scenario.kind)
        if strike is not None and self._moment_came(user):
            outcome.struck = strike(user) or "missed"
        control.release()
        self._wait(user, "the disturbed run")
        ended = control.events("ended")
        outcome.error = ended[-1]["error"] if ended else f"exit code {user.returncode}"
        if scenario.survives and outcome.error:
            outcome.violations.append("the disturbed run should have got over this")
        # A driver at the very head that is killed is ended by Ray, before it can say anything.
        silenced = scenario.kind == "head" and scenario.runs_on == "actors" and user.returncode != 0
        if scenario.kind in ("job driver", "head") and outcome.struck != "missed" and not (ended or silenced):
            outcome.violations.append("the disturbed run ended without an error of its own")
        takes_over = scenario.kind == "follower" and not scenario.interrupt
        self._nothing_left("the disturbed run", but_job=takes_over)
        made = claims(self._root, control)
        outcome.claimed = len(made)
        if (
            scenario.survives
            and outcome.struck != "missed"
            and {claim.table for claim in made} < self._names - {"duplicate_groups"}
        ):
            outcome.violations.append("the disturbed run ended well without having claimed every table")
        return made

    def _again(self, before: set[Claim]) -> None:
        self._control.clear()
        user = self._start()
        self._wait(user, "the second run")
        if user.returncode != 0:
            ended = self._control.events("ended")
            said = ended[-1]["error"] if ended else f"exit code {user.returncode}"
            self._outcome.violations.append(f"the second run failed: {said}")
        self._nothing_left("the second run")
        self._outcome.violations += holes(claims(self._root, self._control) - before, self._root, self._finished)

    def _start(self) -> "subprocess.Popen[bytes]":
        order = Order(
            str(self._root.path),
            str(self._control.folder),
            self._scenario.scope,
            self._scenario.way,
            self._settings(),
        )
        own_modules = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, _MARK: str(self._control.folder)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [own_modules, os.environ.get("PYTHONPATH")]))
        environment.pop("DAGSTER_HOME", None)
        if self._scenario.runs_on == "actors":
            environment |= {**self._cluster.environment, "RAY_ADDRESS": self._cluster.address}
        with (self._control.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "chaos_runs.user", json.dumps(asdict(order))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}}
        if self._scenario.runs_on == "job":
            settings["cluster"] = {
                "mode": "cluster",
                "address": self._cluster.dashboard,
                "token_path": str(self._cluster.token_path),
                "python": interpreter(self._control),
            }
        kind = "in_process" if self._scenario.runs_on == "in_process" else "ray"
        return settings | {"engine": {"kind": kind}}

    def _wait(self, user: "subprocess.Popen[bytes]", which: str) -> None:
        try:
            user.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._outcome.violations.append(f"{which} hangs")
            user.kill()
            user.wait()

    # ---------------------------------------------------------------- the disturbance

    def _moment_came(self, user: "subprocess.Popen[bytes]") -> bool:
        moment = self._scenario.moment

        def came() -> bool:
            if moment.when is not None:
                return any(event["commit"] == moment.commit for event in self._control.events(moment.when))
            return bool(self._control.events("begun")) and self._cpu_seconds(user) >= started + moment.cpu_seconds

        def over() -> bool:
            return user.poll() is not None

        processes.wait_until(lambda: bool(self._control.events("begun")) or over(), _END_SECONDS)
        started = self._cpu_seconds(user)
        processes.wait_until(lambda: came() or over(), _END_SECONDS)
        return not over()

    def _cpu_seconds(self, user: "subprocess.Popen[bytes]") -> float:
        pids = [user.pid, *processes.descendants(user.pid)]
        if self._scenario.on_cluster:
            pids = self._cluster.processes(_ACTORS)
        return processes.cpu_seconds(pids)

    def _signal_user(self, user: "subprocess.Popen[bytes]") -> str:
        sent = signal.SIGINT if self._scenario.interrupt else signal.SIGKILL
        user.send_signal(sent)
        return f"{sent.name} to the process that was called"

    def _kill_decoder(self, user: "subprocess.Popen[bytes]") -> str | None:
        def decoders(child: bool) -> list[int]:
            own = [pid for pid in processes.descendants(user.pid) if re.search(_DECODERS, processes.command(pid))]
            nurseries = {pid for pid in processes.children(user.pid) if "ffmpeg" not in processes.command(pid)}
            return [pid for pid in own if (pid in nurseries) != child]

        child = self._scenario.victim % 2 == 0 or self._scenario.scope == "delivery"
        found = self._found(lambda: decoders(child), user)
        return self._kill_one(found, "a decoding child" if child else "a nursery")

    def _kill_worker(self, user: "subprocess.Popen[bytes]") -> str | None:
        return self._kill_one(self._found(lambda: self._cluster.processes(_WORKER), user), "an actor's process")

    def _found(self, victims: Callable[[], list[_Victim]], user: "subprocess.Popen[bytes]") -> list[_Victim]:
        """Victims, when there are some; a run that waits at a commit goes on until then."""
        if not (found := victims()):
            self._control.release()
            processes.wait_until(lambda: bool(victims()) or user.poll() is not None, _END_SECONDS)
        return found or victims()

    def _kill_one(self, pids: list[int], name: str) -> str | None:
        if not pids:
            return None
        processes.kill([pids[self._scenario.victim % len(pids)]])
        return f"{name} was killed"

    def _kill_node(self, user: "subprocess.Popen[bytes]") -> str | None:
        def busy() -> list[str]:
            return [name for name in ("worker0", "worker1") if self._cluster.processes(_WORKER, name)]

        if not (names := self._found(busy, user)):
            return None
        name = names[self._scenario.victim % len(names)]
        self._cluster.kill_node(name)
        self._cluster.add_node(name, 2)
        return "a node was killed, and came back"

    def _kill_cluster(self, user: "subprocess.Popen[bytes]") -> str:
        self._cluster.kill_node("head")
        self._control.release()
        self._wait(user, "a run without its cluster")
        self._cluster.close()
        self._cluster.start()
        return "the head was killed"

    def _kill_job_driver(self, _: "subprocess.Popen[bytes]") -> str | None:
        if not (drivers := self._job_drivers()):
            return None
        processes.kill(drivers)
        return "the job's driver was killed"

    # ---------------------------------------------------------------- surroundings

    def _prepare(self) -> None:
        """Put what the scope starts from under the root."""
        tables: tuple[str, ...] = ()
        if self._scenario.scope == "resumed":
            tables = _SCANNED
        elif self._scenario.scope == "delivery":
            tables = tuple(sorted(wanted("curation")))
            shutil.copytree(self._finished.path / "media" / "storyboards", self._root.path / "media" / "storyboards")
        for name in tables:
            table = Path("tables") / f"{name}.lance"
            shutil.copytree(self._finished.path / table, self._root.path / table)

    @contextmanager
    def _on_small_disk(self) -> Iterator[Callable[[], object]]:
        """For the scenario of a full disk, move the root to a file system of its own; yields what enlarges it."""
        if self._scenario.kind != "disk full":
            yield lambda: None
            return
        self._disk.mkdir()
        there = _bytes(self._root.path)
        needed = sum(_bytes(self._finished.path / "tables" / f"{name}.lance") for name in self._names)
        needed += _bytes(
            self._finished.path / "media" / ("clips" if self._scenario.scope == "delivery" else "storyboards")
        )
        size = there + int(self._scenario.room * needed) + 16 * _PAGE
        _mount(f"size={size // _PAGE * _PAGE}", "tmpfs", str(self._disk), kind="tmpfs")
        try:
            self._root = self._root.copy_to(self._disk / "data")
            self._outcome.struck = f"{size >> 10} KiB"
            yield lambda: _mount("remount,size=256m", str(self._disk))
        finally:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=True)

    def _job_drivers(self) -> list[int]:
        return processes.running(rf"chaos_runs\.job {re.escape(str(self._control.folder))}")

    def _left(self, but_job: bool = False) -> list[int]:
        """Processes of the run that are still there."""
        left = processes.marked(f"{_MARK}={self._control.folder}")
        if self._scenario.on_cluster and not but_job:
            left += self._cluster.processes(_ACTORS) + self._job_drivers()
        return left

    def _nothing_left(self, which: str, but_job: bool = False) -> None:
        if not processes.wait_until(lambda: not self._left(but_job), _GONE_SECONDS):
            left = self._left(but_job)
            commands = ", ".join(sorted({processes.command(pid)[:60] for pid in left}))
            self._outcome.violations.append(f"{which} left {len(left)} processes behind: {commands}")
            processes.kill(left)


def may_mount(folder: Path) -> bool:
    """Whether a small disk can be made here."""
    try:
        _mount("size=1m", "tmpfs", str(folder), kind="tmpfs")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


def _mount(options: str, *what: str, kind: str | None = None) -> None:
    command = ["mount", *(["-t", kind] if kind else []), "-o", options, *what]
    subprocess.run(command, check=True, capture_output=True)


def _bytes(folder: Path) -> int:
    """What the files of a folder take on a disk."""
    return sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in folder.rglob("*"))

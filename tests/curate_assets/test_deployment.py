"""A deployment whose processes are killed: docs/reliability.md. `make soak` has 40 shards and several seeds, this few.

SHARDS, RUNS and SEED in the environment choose. Each line that is printed is one backfill.
"""

import io
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG

from curate_assets.graph.run_pools import DECODE
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.runs import register_shards
from curate_assets.settings.resolve import resolve_config
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.commit import Materialized
from curate_resources.pipeline.run import materialize
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage import object_stores
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables

SETTINGS = """
clips: {splitter: fixed_stride, stride_seconds: 0.4, min_seconds: 0.2, min_frames: 5}
shot_signals: {network: none}
engine: {kind: in_process}
"""
ASSETS = ("source_videos", "shot_signals", "motion_signals", "storyboards", "clips", "motion_scores", "clip_selection")
"""What needs no model, so that the processes that die are most of the time."""

SOAK = "SHARDS" in os.environ
LIBRARY = int(os.environ.get("SHARDS", "5"))
"""Shards, of one video each."""

AT_ONCE, KILLED_RUNS = (2, 2) if SOAK else (1, 1)
"""The limit of the pool, and how many runs are killed by themselves."""

PLATFORM = Path(__file__).resolve().parents[2] / "examples" / "platform" / "dagster.yaml"
HURRIED = {
    "poll_interval_seconds: 30": "poll_interval_seconds: 2",
    "start_timeout_seconds: 300": "start_timeout_seconds: 120",
}
"""What is changed of the platform's settings: Dagster looks more often for runs that have died."""

DAEMON = {"DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"}
"""As docs/operations.md says."""

_END_SECONDS = 900 + 60 * LIBRARY
_POLL_SECONDS = 2.0
_LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_LIMIT = "mutation Limit($pool: String!, $limit: Int!) { setConcurrencyLimit(concurrencyKey: $pool, limit: $limit) }"
_STATUS = """
query Status($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }
"""


def seeds() -> list[int]:
    first = int(os.environ.get("SEED", "0"))
    return list(range(first, first + int(os.environ.get("RUNS", "1"))))


@pytest.fixture(scope="session")
def bucket(s3_server, footage, encode, tmp_path_factory) -> str:
    """A bucket of small videos of different lengths, each of other pictures."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in surroundings(s3_server).items():
            patch.setenv(name, value)
        raw, folder = s3_server.bucket("soak-raw"), tmp_path_factory.mktemp("soak")
        for number in range(LIBRARY):
            length, start = 0.5 + 0.4 * (number % 5), 0.2 * (number // 5)
            cut = ["-ss", f"{start:.1f}", "-t", f"{length:.1f}", "-vf", f"scale={96 + 2 * number}:-2", "-an"]
            encode(footage("bikes.mp4"), folder / "video.mp4", *cut, "-c:v", "libx264", "-preset", "ultrafast")
            object_stores.write(f"{raw}/takes/{number:03d}.mp4", io.BytesIO((folder / "video.mp4").read_bytes()))
    return raw


def surroundings(s3_server: Any) -> dict[str, str]:
    return {**s3_server.keys, "AWS_ENDPOINT_URL": s3_server.url, "CURATE_LOGS_BUCKET": "soak-logs"}


def new_library(root: str, bucket: str) -> list[str]:
    """Add the bucket's videos to a root, one for each shard."""
    Storage(root).write("curate.yaml", SETTINGS.encode())
    add_units(Manifests(Storage(root)), f"{bucket}/takes", "take", 1, 1 << 30, VIDEO_FILES)
    return Manifests(Storage(root)).shards()


@pytest.fixture(scope="session")
def undisturbed(bucket, s3_server, tmp_path_factory) -> tuple[Tables, Mapping[tuple[str, str], Materialized]]:
    """What one process makes of the same videos: its tables, and what it says of each."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in surroundings(s3_server).items():
            patch.setenv(name, value)
        root = str(tmp_path_factory.mktemp("undisturbed"))
        shards = new_library(root, bucket)
        plan = VIDEO.plan(frozenset(ASSETS), resolve_config(Storage(root)), root, stages=VIDEO.phases[0].stages)
        done = {(each.table, each.shard): each for each in materialize(plan, shards, InProcessEngine())}
    return Tables(Storage(root)), done


@dataclass
class Soak:
    """One backfill through a deployment, with the daemon and two runs killed on the way, as a seed says; an odd one
    kills the daemon together with its code server and all its runs."""

    seed: int
    dagster: Any
    instance: DagsterInstance
    shards: list[str]
    notes: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Do it; returns the status that the backfill ended with."""
        chance = random.Random(self.seed)
        self._started, self._killed = time.monotonic(), set[str]()
        self.dagster.ask(_LIMIT, pool=DECODE, limit=AT_ONCE)
        params = {"assetSelection": [{"path": [name]} for name in ASSETS], "partitionNames": self.shards}
        launched = self.dagster.ask(_LAUNCH, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        self.backfill = launched["backfillId"]
        strikes = [*[self._kill_run] * KILLED_RUNS, self._kill_daemon]
        chance.shuffle(strikes)
        for strike, share in zip(strikes, sorted(chance.uniform(0, 0.7) for _ in strikes), strict=True):
            due = int(share * len(self.shards) * len(ASSETS))
            self._wait(f"{due} materializations", lambda due=due: len(self.materialized()) >= due)
            strike(chance)
        self._wait("its end", self._ended)
        return self.status()

    def status(self) -> str:
        return self.dagster.ask(_STATUS, id=self.backfill)["partitionBackfillOrError"]["status"]

    def runs(self, *statuses: DagsterRunStatus) -> list[Any]:
        """Records of the backfill's runs, those that took the place of others among them."""
        filters = RunsFilter(tags={BACKFILL_ID_TAG: self.backfill}, statuses=list(statuses) or None)
        return list(self.instance.get_run_records(filters))

    def materialized(self) -> set[tuple[str, str]]:
        return {
            (name, shard) for name in ASSETS for shard in self.instance.get_materialized_partitions(dg.AssetKey(name))
        }

    def _kill_run(self, chance: random.Random) -> None:
        def alive() -> list[tuple[str, int]]:
            started = [record.dagster_run.run_id for record in self.runs(DagsterRunStatus.STARTED)]
            return [(run, pid) for run in started if run not in self._killed and (pid := self._process(run))]

        self._wait("a run", lambda: bool(alive()))
        run, pid = chance.choice(sorted(alive()))
        self._killed.add(run)
        os.kill(pid, signal.SIGKILL)
        self._note(f"run {run[:8]} killed")

    def _kill_daemon(self, chance: random.Random) -> None:
        whole = self.seed % 2 == 1
        self.dagster.kill("daemon", whole_group=whole)
        self._note("daemon killed" + (" with its runs" if whole else ""))
        time.sleep(chance.uniform(1, 5))
        self.dagster.start_daemon()
        self._note("daemon back")

    def _process(self, run: str) -> int | None:
        """The process that a run is; None before it told of itself."""
        for entry in self.instance.all_logs(run, of_type=dg.DagsterEventType.ENGINE_EVENT):
            data = entry.get_dagster_event().engine_event_data
            if "Started process for run" in (entry.get_dagster_event().message or ""):
                pid = int(str(data.metadata["pid"].value))
                with suppress(ProcessLookupError):
                    os.kill(pid, 0)
                    return pid
        return None

    def _note(self, what: str) -> None:
        self.notes.append(f"{what} at {time.monotonic() - self._started:.0f} s ({len(self.materialized())} made)")

    def _wait(self, what: str, holds: Any) -> None:
        while not holds():
            late = time.monotonic() - self._started > _END_SECONDS
            if late or self._ended():
                raise AssertionError(f"no {what}: {self.notes}, {self.status()}; {self.dagster.log('daemon')[-4000:]}")
            time.sleep(_POLL_SECONDS)

    def _ended(self) -> bool:
        return self.status() not in ("REQUESTED", "CANCELING", "FAILING")


@pytest.fixture
def deployment(
    s3_server, postgres, bucket, dagster_processes, tmp_path, monkeypatch, request
) -> Iterator[tuple[Any, DagsterInstance, str]]:
    """The platform's Dagster on PostgreSQL, with a root in a bucket."""
    seed = request.node.callspec.params["seed"]
    variables = surroundings(s3_server) | postgres.database(f"soak{seed}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    home, root = tmp_path / "dagster", s3_server.bucket(f"soak-{seed}")
    s3_server.bucket("soak-logs")
    home.mkdir()
    settings = PLATFORM.read_text()
    for shipped, hurried in HURRIED.items():
        assert settings.count(shipped) == 1
        settings = settings.replace(shipped, hurried)
    (home / "dagster.yaml").write_text(settings)
    with DagsterInstance.from_config(str(home)) as instance, dagster_processes(home, root, DAEMON) as dagster:
        register_shards(instance, new_library(root, bucket))
        dagster.start()
        yield dagster, instance, root


@pytest.mark.deep
@pytest.mark.timeout(_END_SECONDS + 900)
@pytest.mark.parametrize("seed", seeds())
def test_a_backfill_makes_every_shard_once_whatever_is_killed(seed, deployment, undisturbed):
    dagster, instance, root = deployment
    shards = sorted(instance.get_dynamic_partitions(SHARDS.name or ""))
    if not SOAK:  # neighbours go into one run; so there are two
        del shards[2]
    soak = Soak(seed, dagster, instance, shards)
    status = soak.run()
    records = soak.runs()
    replaced = {record.dagster_run.tags.get(PARENT_RUN_ID_TAG) for record in records} - {None}
    told = [
        f"{run.run_id[:8]} {run.status.value} in the place of {(run.parent_run_id or '')[:8]!r}, "
        f"{ {name: value for name, value in run.tags.items() if 'retry' in name or 'reason' in name} }"
        for run in (record.dagster_run for record in records)
    ]
    failed = {record.dagster_run.run_id for record in soak.runs(DagsterRunStatus.FAILURE)}
    print(
        f"\nseed {seed}: {len(shards)} shards of {len(ASSETS)} assets; {', '.join(soak.notes)}; {status} after "
        f"{time.monotonic() - soak._started:.0f} s, {len(records)} runs, {len(failed)} died"
    )
    assert status == "COMPLETED_SUCCESS"
    # Of a run that died after its step there is nothing left to do.
    through = {run for run in failed if list(instance.all_logs(run, of_type=dg.DagsterEventType.STEP_SUCCESS))}
    assert len(failed) >= KILLED_RUNS
    assert failed - through <= replaced <= failed, f"who died was started again, and nobody else was: {told}"
    # A run that died before it had begun has no start.
    spans = [(record.start_time, record.end_time) for record in records if record.start_time is not None]
    assert max(sum(start < end and start <= moment < end for start, end in spans) for moment, _ in spans) <= AT_ONCE
    tables, expected = undisturbed
    made = Tables(Storage(root))
    for name in ASSETS:
        for shard in shards:
            assert made.read(VIDEO.tables[name], shard).equals(tables.read(VIDEO.tables[name], shard)), (name, shard)
        assert made.shards(VIDEO.tables[name]) == shards
        events = instance.fetch_materializations(dg.AssetKey(name), limit=1000).records
        told: dict[str, Any] = {}
        for record in events:  # the newest first
            told.setdefault(record.partition_key or "", record.asset_materialization)
        assert sorted(told) == shards
        for shard, event in told.items():
            own = expected[name, shard]
            assert event.metadata["dagster/partition_row_count"].value == own.rows, (name, shard)
            assert event.tags["dagster/data_version"] == own.identity, (name, shard)
    assert len({expected["clips", shard].rows for shard in shards}) > 1, "shards can be told apart"

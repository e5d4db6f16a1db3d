"""The engine on a real cluster: killed workers, machines that go away, environments, and room for all stages."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from packaging.requirements import Requirement

from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.declarations.stage import LiveWorker, Needs, Stage, Work
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.declarations.units import UnitFiles, UnitTable
from curate_resources.engines import ray_engine
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.engines.pools import Node, PlanDoesNotFit
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.ray_engine import RayEngine
from curate_resources.engines.scheduler import Flow
from curate_resources.pipeline.commit import in_order
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run import materialize
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import MANIFEST, Manifests
from curate_resources.storage.root import Storage

CLIPS = Table(
    "cut",
    "clip",
    ("uri", "clip"),
    (Column("uri", pa.string()), Column("video_id", pa.string()), Column("clip", pa.int64())),
    "",
)
SCORES = Table(
    "scores",
    "clip",
    ("uri", "clip"),
    (
        Column("uri", pa.string()),
        Column("clip", pa.int64()),
        Column("score", pa.int64()),
        Column("made_with", pa.string()),
    ),
    "",
)
UNITS = UnitTable(CLIPS, UnitFiles("video", frozenset({".mp4"})), id="video_id", parts="clip")
TABLES = {table.name: table for table in (MANIFEST, CLIPS, SCORES)}
CLIPS_EACH = 6
REPOSITORY = Path(__file__).resolve().parents[3]
POISON = 4


@dataclass(frozen=True)
class Config:
    """What the stages need to know: a folder for notes, and what they are to do."""

    notes: str
    deadly: bool = False
    seconds: float = 0.0


def open_splitter(config: Any, storage: Any):
    def split(work: Work) -> Mapping[str, list[Row]]:
        uris = work.items["uri"].to_pylist()
        return {"cut": [{"uri": uri, "video_id": uri, "clip": clip} for uri in uris for clip in range(CLIPS_EACH)]}

    return split


def open_large_splitter(config: Any, storage: Any):
    split = open_splitter(config, storage)

    def split_large(work: Work) -> Mapping[str, list[Row]]:
        (clips,) = split(work).values()
        return {"cut": [{**clip, "video_id": "v" * 1_000_000} for clip in clips]}

    return split_large


def prepare(config: Any, storage: Any) -> None:
    Path(config.notes, f"prepared-{os.getpid()}").touch()


def open_scorer(config: Any, storage: Any):
    import curate_version  # a package of the environment, in another version in each

    def score(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            if config.deadly and clip["clip"] == POISON:
                Path(config.notes, f"{clip['uri'].replace('/', '_')}-{time.time_ns()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(config.seconds)
            rows.append({**clip_keys(clip), "score": clip["clip"] ** 2, "made_with": curate_version.VERSION})
        return {"scores": rows}

    return score


def clip_keys(clip: Row) -> Row:
    return {"uri": clip["uri"], "clip": clip["clip"]}


SPLIT = Stage("split", MANIFEST.name, (), (CLIPS,), open_splitter, heavy=True)
SCORE = Stage("score", CLIPS.name, (), (SCORES,), open_scorer, heavy=True, prepare=prepare)


def a_plan(folder: Path, *stages: Stage, **config: Any) -> Plan:
    return Plan(
        stages or (SPLIT, SCORE),
        frozenset({"cut", "scores"}),
        TABLES,
        Config(str(folder), **config),
        str(folder / "root"),
        UNITS,
    )


def videos(count: int) -> list[Unit]:
    rows = [
        {"uri": f"v{number}", "bytes": 1, "version": "1", "shard": "s", "status": "ok", "fingerprint": ""}
        for number in range(count)
    ]
    return [
        Unit("s", row["uri"], {"manifest": pa.Table.from_pylist([row], schema=MANIFEST.rows_schema)}) for row in rows
    ]


def scores(units: list[Unit]) -> list[Row]:
    return in_order(SCORES, [unit.rows["scores"] for unit in units]).to_pylist()


def version_package(folder: Path, version: str) -> Path:
    """A folder with an importable package `curate_version`."""
    folder.mkdir(parents=True)
    (folder / "curate_version.py").write_text(f"VERSION = {version!r}\n")
    return folder


@pytest.fixture
def engine(attached, tmp_path, monkeypatch):
    """An engine on the cluster; its workers find `curate_version` 1."""
    import ray

    package = version_package(tmp_path / "one", "1")
    monkeypatch.syspath_prepend(str(package))
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(
        attached.address,
        namespace="curate",
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(package)}},
    )
    yield RayEngine(RayCluster())
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_row_that_kills_its_worker_twice_fails_alone(engine, tmp_path):
    (tmp_path / "notes").mkdir()
    units = list(engine.run(a_plan(tmp_path / "notes", deadly=True), videos(3)))
    rows = scores(units)
    assert [row["clip"] for row in rows] == [*range(CLIPS_EACH)] * 3
    for row in rows:
        if row["clip"] == POISON:
            assert row["status"] == "failed"
            assert (row["error"]["type"], row["error"]["stage"], row["error"]["attempt"]) == ("WorkerDied", "score", 2)
        else:
            assert (row["status"], row["score"]) == ("ok", row["clip"] ** 2)
    for number in range(3):
        assert len(list((tmp_path / "notes").glob(f"v{number}-*"))) == 2


@pytest.mark.parametrize("layout", ["fused", "pooled"])
def test_killed_workers_cost_no_rows(engine, attached, tmp_path, layout):
    expected = scores(list(InProcessEngine().run(a_plan(tmp_path), videos(8))))
    stop = threading.Event()

    def kill() -> None:
        for _ in range(3):  # a unit is lost with the fourth worker that dies of it
            if stop.wait(2):
                return
            for pid in attached.processes("ray::StageActor.call")[:1]:
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        # A tenth of a second each, and no more than one death per row, so that none is taken for a killer.
        units = list(replace(engine, layout=layout).run(a_plan(tmp_path, seconds=0.05), videos(8)))
    finally:
        stop.set()
        killer.join()
    by_key = {(row["uri"], row["clip"]): row for row in scores(units)}
    assert len(by_key) == len(expected)
    for row in expected:
        found = by_key[row["uri"], row["clip"]]
        assert found == row or (found["error"] or {}).get("type") == "WorkerDied"


@pytest.mark.deep
def test_a_machine_that_goes_away_costs_no_rows(engine, attached, tmp_path):
    expected = scores(list(InProcessEngine().run(a_plan(tmp_path), videos(20))))
    attached.add_node("extra", 2)
    units: list[Unit] = []
    gone = False
    for unit in replace(engine, layout="pooled").run(a_plan(tmp_path, seconds=0.1), videos(20)):
        units.append(unit)
        if not gone:
            attached.kill_node("extra")
            gone = True
    assert scores(units) == expected


@pytest.mark.deep
def test_a_quick_stage_does_not_fill_the_store_ahead_of_a_slow_one(engine, tmp_path, monkeypatch):
    import ray

    most = 20 << 20
    monkeypatch.setattr(ray_engine, "_STORE_SHARE", most / ray.cluster_resources()["object_store_memory"])
    sizes: list[int] = []
    take = Flow.take
    monkeypatch.setattr(Flow, "take", lambda flow, *arguments: sizes.append(flow.size) or take(flow, *arguments))
    large = replace(SPLIT, open=open_large_splitter)
    plan = a_plan(tmp_path, large, SCORE, seconds=0.02)
    units = list(replace(engine, layout="pooled").run(plan, videos(40)))
    assert len(scores(units)) == 40 * CLIPS_EACH
    # Beyond it there may be what was begun before: two calls for each of two workers.
    assert most < max(sizes) < most + 4 * (16 << 20)


def link_core(site: Path) -> None:
    """Have an environment hold the packages of the core, as pyproject.toml lists them, with what these need."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    waiting, linked = [Requirement(each).name for each in project["dependency-groups"]["core"]], set[str]()
    while waiting:
        if (name := waiting.pop()) not in linked:
            linked.add(name)
            package = distribution(name)
            needs = [Requirement(each) for each in package.requires or []]
            waiting += [each.name for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
            for top in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
                (site / top).symlink_to(str(package.locate_file(top)))


def test_a_stage_runs_in_an_environment_with_the_core_and_another_version_of_a_package(engine, tmp_path):
    python = tmp_path / "other" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "other")], check=True)
    site = next((tmp_path / "other" / "lib").glob("python*/site-packages"))
    link_core(site)
    version_package(site / "own", "2")
    (site / "paths.pth").write_text(f"import sys; sys.path[:0] = [{str(site / 'own')!r}]\n{REPOSITORY}\n")
    absent = subprocess.run([python, "-c", "import lance"], capture_output=True, text=True)
    assert "No module named 'lance'" in absent.stderr
    mixed = replace(engine, environments={"score": str(python)})
    assert {row["made_with"] for row in scores(list(mixed.run(a_plan(tmp_path), videos(2))))} == {"2"}
    assert {row["made_with"] for row in scores(list(engine.run(a_plan(tmp_path), videos(2))))} == {"1"}


def test_a_model_is_set_up_before_it_is_needed_and_once_per_process(engine, tmp_path):
    (tmp_path / "notes").mkdir()
    list(engine.run(a_plan(tmp_path / "notes"), videos(6)))
    prepared = list((tmp_path / "notes").glob("prepared-*"))
    assert 1 <= len(prepared) <= 4


def test_stage_after_stage_where_a_gpu_cannot_hold_all_models(engine, attached, tmp_path, caplog):
    """Two models that want a whole GPU each, and a machine with one (as Ray counts: no model is loaded here)."""
    attached.add_node("gpu", 2, "--num-gpus=1")
    try:
        split, score = (replace(stage, needs=Needs(gpus=1)) for stage in (SPLIT, SCORE))
        root = Storage(str(tmp_path / "root"))
        (tmp_path / "videos").mkdir()
        for number in range(3):
            (tmp_path / "videos" / f"{number}.mp4").write_bytes(b"x")
        (shard,) = add_units(Manifests(root), str(tmp_path / "videos"), "s", 10, 1 << 30, VIDEO_FILES).new_shards
        plan = a_plan(tmp_path, split, score)
        assert not engine.holds(plan)
        with caplog.at_level(logging.INFO, "curate"):
            done = [each.table for each in materialize(plan, [shard], engine)]
        assert done == ["cut", "scores"]
        assert "stage after stage, because there is no room for all of split > score" in caplog.text
        greedy = replace(score, needs=Needs(gpus=2))
        with pytest.raises(PlanDoesNotFit, match="stage score needs 1 CPUs and 2 GPUs; the cluster has"):
            list(materialize(a_plan(tmp_path, split, greedy), [shard], engine))
    finally:
        attached.kill_node("gpu")


def test_room_is_what_an_autoscaling_cluster_can_grow_to():
    engine = RayEngine(RayCluster(capacity=Node(64, 8)))
    greedy = [replace(stage, needs=Needs(gpus=4)) for stage in (SPLIT, SCORE)]
    assert engine.holds(a_plan(Path("/nowhere"), *greedy))


def open_gpu_scorer(config: Any, storage: Any):
    def score(work: Work) -> Mapping[str, list[Row]]:
        time.sleep(config.seconds)
        seen = f"{os.getpid()}:{os.environ['CUDA_VISIBLE_DEVICES']}"
        return {"scores": [{**clip_keys(clip), "score": 0, "made_with": seen} for clip in work.items.to_pylist()]}

    return score


def open_gpu_splitter(config: Any, storage: Any):
    split = open_splitter(config, storage)

    def noted(work: Work) -> Mapping[str, list[Row]]:
        Path(config.notes, f"{os.getpid()}:{os.environ['CUDA_VISIBLE_DEVICES']}").touch()
        return split(work)

    return noted


@pytest.mark.deep
def test_workers_share_gpus_as_they_were_planned_and_see_no_others(engine, attached, tmp_path):
    """As Ray counts GPUs: there is none here. A splitter of 0.6 and a scorer of 0.4 are on each of two."""
    attached.add_node("gpus", 4, "--num-gpus=2")
    try:
        (tmp_path / "notes").mkdir()
        split = replace(SPLIT, open=open_gpu_splitter, needs=Needs(gpus=0.6, min_workers=2, max_workers=2))
        score = replace(SCORE, open=open_gpu_scorer, needs=Needs(gpus=0.4, min_workers=2, max_workers=2))
        plan = a_plan(tmp_path / "notes", split, score, seconds=0.05)
        rows = scores(list(replace(engine, layout="pooled").run(plan, videos(24))))
        scorers = {row["made_with"] for row in rows}
        splitters = {path.name for path in (tmp_path / "notes").glob("*:*")}
        for workers in (scorers, splitters):
            assert sorted(worker.split(":")[1] for worker in workers) == ["0", "1"], (scorers, splitters)
        # Three of 0.6 would wait for ever; together with one of 0.6, a model of 0.6 would be 1.2 of a GPU.
        with pytest.raises(PlanDoesNotFit, match=r"3 x 1 CPUs and 0.6 GPUs \(1 of its workers fit on one GPU\)"):
            list(engine.run(a_plan(tmp_path, replace(score, needs=Needs(gpus=0.6, min_workers=3))), videos(1)))
        greedy = [replace(stage, needs=Needs(gpus=0.6)) for stage in (split, score)]
        fused = replace(engine, layout="fused").run(a_plan(tmp_path / "notes", *greedy), videos(1))
        assert {row["made_with"].split(":")[1] for row in scores(list(fused))} <= {"0", "1"}
        on_cpus = [replace(stage, needs=Needs()) for stage in (split, score)]
        without = scores(list(engine.run(a_plan(tmp_path / "notes", *on_cpus), videos(2))))
        assert {row["made_with"].split(":")[1] for row in without} == {""}
    finally:
        attached.kill_node("gpus")


@pytest.mark.deep
def test_whole_gpus_are_on_one_machine_and_memory_chooses_a_share(engine, attached, tmp_path, monkeypatch):
    """On machines of two and of one GPU, as Ray counts them, whose driver says that each has 40 GiB."""
    driver = tmp_path / "driver" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh\necho 40960\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{driver.parent}:{os.environ['PATH']}")
    (tmp_path / "notes").mkdir()
    attached.add_node("two", 4, "--num-gpus=2")
    attached.add_node("one", 4, "--num-gpus=1")
    try:

        def seen(**needs: Any) -> list[str]:
            score = replace(SCORE, open=open_gpu_scorer, needs=Needs(**needs))
            plan = a_plan(tmp_path / "notes", SPLIT, score, seconds=0.05)
            rows = scores(list(replace(engine, layout="pooled").run(plan, videos(18))))
            return sorted(worker.split(":")[1] for worker in {row["made_with"] for row in rows})

        assert seen(gpus=2) == ["0,1"]
        by_memory = {"gpus": 1, "gpu_memory_gib": 30}
        assert seen(**by_memory, min_workers=3, max_workers=3) == ["0", "0", "1"]
        with pytest.raises(PlanDoesNotFit, match=r"4 x 1 CPUs and 0.75 GPUs \(1 of its workers fit on one GPU\)"):
            seen(**by_memory, min_workers=4)
        with pytest.raises(PlanDoesNotFit, match="score needs 1 CPUs and 3 GPUs"):
            seen(gpus=3)
    finally:
        attached.kill_node("two")
        attached.kill_node("one")


class LiveScorer(LiveWorker):
    """Has a child process, and keeps notes: who was under way when it died, and that it was closed."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.child = subprocess.Popen(["sleep", "600"])
        Path(config.notes, f"child-{self.child.pid}").touch()
        self.under_way = 0

    async def rows(self, work: Work) -> Mapping[str, list[Row]]:
        self.under_way += 1
        clips = work.items.to_pylist()
        await asyncio.sleep(0.2)
        if clips[0]["uri"] == "v3" and any(clip["clip"] == POISON for clip in clips):
            notes = Path(self.config.notes)
            for _ in range(600):  # at first others are under way, sooner or later; afterwards it is alone
                if self.under_way > 1 or any(notes.glob("died-*")):
                    break
                await asyncio.sleep(0.1)
            Path(self.config.notes, f"died-{time.time_ns()}-{self.under_way}").touch()
            os.kill(self.child.pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        self.under_way -= 1
        return {"scores": [{**clip_keys(clip), "score": clip["clip"] ** 2, "made_with": "1"} for clip in clips]}

    async def close(self) -> None:
        self.child.kill()
        self.child.wait()
        Path(self.config.notes, f"closed-{self.child.pid}").touch()


def open_live_scorer(config: Any, storage: Any) -> LiveWorker:
    return LiveScorer(config)


def test_a_worker_with_a_life_is_closed_and_its_death_is_charged_to_the_row_that_caused_it(engine, tmp_path):
    from chaos_runs.processes import runs, wait_until  # workers, which import this module, do not have it

    (tmp_path / "notes").mkdir()
    live = replace(SCORE, open=open_live_scorer, prepare=None, needs=Needs(at_once=8, cpus=0, max_workers=1))
    rows = scores(list(replace(engine, layout="pooled").run(a_plan(tmp_path / "notes", SPLIT, live), videos(8))))
    assert [row["clip"] for row in rows] == [*range(CLIPS_EACH)] * 8
    failed = {(row["uri"], row["clip"]): row["error"]["type"] for row in rows if row["status"] == "failed"}
    assert failed == {("v3", POISON): "WorkerDied"}
    died = [int(path.name.split("-")[2]) for path in sorted((tmp_path / "notes").glob("died-*"))]
    assert len(died) == 3 and died[0] > 1 and died[1:] == [1, 1]  # then the unit alone, and then its row
    started = {path.name.split("-")[1] for path in (tmp_path / "notes").glob("child-*")}
    assert len(started) == 4 and len([*(tmp_path / "notes").glob("closed-*")]) == 1
    assert wait_until(lambda: not any(runs(int(child)) for child in started), 30)


@pytest.mark.deep
def test_only_reservations_of_our_own_runs_keep_a_run_from_growing(engine, attached, tmp_path):
    from ray.util import placement_group, remove_placement_group

    def most_workers(waiting: str) -> int:
        group = placement_group([{"CPU": 64}], name=waiting)
        try:
            plan = a_plan(tmp_path, SPLIT, replace(SCORE, open=open_gpu_scorer), seconds=0.1)
            units = list(replace(engine, layout="fused").run(plan, videos(24)))
            return len({row["made_with"] for row in scores(units)})
        finally:
            remove_placement_group(group)

    assert most_workers("somebody-else") > 1
    assert most_workers("curate-run-another") == 1


_DRIVER = """
import logging, os, sys
sys.path.insert(0, sys.argv[1])
import ray
import test_ray_engine as tests
from pathlib import Path
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.ray_engine import RayEngine
logging.basicConfig(level=logging.WARNING, format="%(message)s")
ray.cloudpickle.register_pickle_by_value(tests)
plan = tests.a_plan(Path(sys.argv[2]), tests.SPLIT, tests.replace(tests.SCORE, open=tests.open_gpu_scorer), seconds=0.2)
try:
    for unit in RayEngine(RayCluster(answer_seconds=5)).run(plan, tests.videos(400)):
        print(unit.source, flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
    sys.exit(1)
"""


@pytest.mark.deep
def test_a_head_that_hangs_in_the_middle_ends_the_run_with_an_error(attached, tmp_path):
    """Its questions to the head would wait for ever, at the end of the process, too."""
    command = [sys.executable, "-c", _DRIVER, str(Path(__file__).parent), str(tmp_path)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert driver.stdout is not None and driver.stdout.readline().startswith("v"), driver.communicate()
    (head,) = attached.processes("gcs_server", "head")
    os.kill(head, signal.SIGSTOP)
    began = time.monotonic()
    try:
        said, errors = driver.communicate(timeout=120)
    finally:
        os.kill(head, signal.SIGCONT)
    assert driver.returncode == 1, (said, errors)
    assert said.splitlines()[-1].startswith("ClusterUnreachable the head of the Ray cluster has not answered for 5 s")
    assert time.monotonic() - began < 60

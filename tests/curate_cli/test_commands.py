"""The commands as a user calls them: one process each, JSON and exit codes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from chaos_runs.processes import runs, wait_until

from gpu_kernels.media.ffmpeg import ffmpeg_executable

SETTINGS = """
clips: {min_seconds: 0.6, min_frames: 15, crop_seconds: 0.2}
engine: {kind: in_process}
training_dataset: {min_seconds: 0.1}
"""


def curate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"} | {
        "CURATE_ROOT": str(root)
    }
    command = [sys.executable, "-m", "curate_cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("My Videos")
    for name, source in (("one", "testsrc2"), ("two [draft]", "mandelbrot")):
        command = [ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", f"{source}=s=128x96:r=25", "-t", "2"]
        subprocess.run([*command, "-pix_fmt", "yuv420p", str(folder / f"{name}.mp4")], check=True)
    (folder / "read me.txt").write_text("no video")
    return folder


def test_from_a_folder_to_a_training_set(videos, tmp_path):
    root = tmp_path / "data"
    added = json.loads(curate(root, "add", str(videos), "--json").stdout)
    assert added["new_shards"] == ["my-videos0-000000"]
    assert (added["new_files"], added["ignored_files"]) == (2, 1)
    again = json.loads(curate(root, "add", str(videos), "--json").stdout)
    assert (again["new_shards"], again["new_files"], again["known_files"]) == ([], 0, 2)
    assert "HDR becomes SDR" in curate(tmp_path / "other", "add", str(videos)).stdout

    (tmp_path / "settings.yaml").write_text(SETTINGS)
    done = curate(root, "materialize", "--config", str(tmp_path / "settings.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    assert all(run["error"] is None for run in json.loads(done.stdout))

    state = json.loads(curate(root, "status", "--json").stdout)
    counts = {step["name"]: step["count"] for step in state["funnel"]}
    assert counts["files"] == counts["readable videos"] == 2
    assert counts["samples"] == counts["clip files"] > 0
    assert state["failed_rows"] == 0

    rows = json.loads(curate(root, "query", "SELECT uri, outcome FROM source_outcomes ORDER BY uri", "--json").stdout)
    assert [(Path(row["uri"]).name, row["outcome"]) for row in rows] == [("one.mp4", "ok"), ("two [draft].mp4", "ok")]
    people = curate(root, "query", "SELECT uri FROM source_videos")
    assert "two [draft].mp4" in people.stdout.replace("\n", "")

    report = json.loads(curate(root, "report", "--json").stdout)["report"]
    assert "two [draft].mp4" in Path(report).read_text()
    assert "DAGSTER_HOME" not in os.environ
    assert (root / "dagster").is_dir()


@pytest.mark.deep
def test_failures_are_tried_again_and_what_nothing_points_at_is_removed(videos, tmp_path):
    root = tmp_path / "data"
    broken = tmp_path / "videos" / "broken.mp4"
    broken.parent.mkdir()
    broken.write_bytes(b"no video")
    curate(root, "add", str(broken.parent))
    (root / "curate.yaml").write_text(f"{SETTINGS}checks: {{min_rows: 1}}\n")
    assert curate(root, "materialize", "--select", "source_videos").returncode == 1  # all of it failed: a check says so
    assert json.loads(curate(root, "status", "--json").stdout)["failed_rows"] == 1
    (again,) = json.loads(curate(root, "retry-failed", "--select", "source_videos", "--json").stdout)
    assert again["assets"] == ["source_videos"] and "failures_few of source_videos" in again["error"]

    told = curate(root, "retry-failed", "--select", "source_videos").stdout
    assert "files" in told and "failed: 1" in told and f"{broken}, source_videos of " in told
    assert "retried: 1 that had failed before; 1 failed again" in told
    assert "took " in told and "next: fix what is reported above" in told

    (root / "media" / "clips").mkdir(parents=True)
    (root / "media" / "clips" / "left.mp4.0.partial").write_bytes(b"half")
    segment = root / "indexes" / "clip_vectors-of-another-model" / "0.safetensors"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"12345")
    kept = json.loads(curate(root, "clean", "--json").stdout)
    assert kept["files"] == []  # they are too young: a run may be about to need them
    shown = json.loads(curate(root, "clean", "--dry-run", "--older-than-hours", "0", "--json").stdout)
    assert shown["files"] == ["indexes/clip_vectors-of-another-model/0.safetensors", "media/clips/left.mp4.0.partial"]
    assert shown["bytes"] == 5 + 4
    gone = json.loads(curate(root, "clean", "--older-than-hours", "0", "--json").stdout)
    assert gone["files"] == shown["files"] and gone["table_bytes"] > 0
    assert not list(root.rglob("*.partial")) and not segment.exists()
    assert json.loads(curate(root, "status", "--json").stdout)["failed_rows"] == 1


@pytest.mark.deep
def test_a_warm_cluster_is_started_once_used_and_ended(videos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = tmp_path / "data"
    curate(root, "add", str(videos))
    # Two pools find no place in a cluster of one CPU, which is what a run of these settings would start by itself.
    settings = SETTINGS.replace("kind: in_process", "kind: ray, layout: pooled, mode: streaming, cpus: 1")
    (root / "curate.yaml").write_text(settings)
    try:
        up = json.loads(curate(root, "up", "--cpus", "4", "--json").stdout)
        assert up["state"] == "started"
        assert json.loads(curate(root, "up", "--json").stdout) == {**up, "state": "running already"}
        assert (tmp_path / "state" / "curate" / "token").stat().st_mode & 0o077 == 0
        current = Path(tempfile.gettempdir()) / "ray" / "ray_current_cluster"  # where Ray sends jobs
        assert not current.exists() or up["address"].split(":")[1] not in current.read_text()
        assert curate(root, "materialize", "--select", "source_videos,storyboards").returncode == 0
        assert json.loads(curate(root, "status", "--json").stdout)["assets"][0]["rows"] == {"ok": 2}
    finally:
        down = json.loads(curate(root, "down", "--json").stdout)
    assert down["state"] == "ended"
    assert json.loads(curate(root, "down", "--json").stdout)["state"] == "there was none"


@pytest.mark.deep
def test_a_run_whose_warm_cluster_hangs_starts_one_of_its_own(videos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = tmp_path / "data"
    curate(root, "add", str(videos))
    settings = SETTINGS.replace("kind: in_process", "kind: ray, layout: fused") + "cluster: {answer_seconds: 3}\n"
    (root / "curate.yaml").write_text(settings)
    assert curate(root, "up", "--cpus", "2", "--json").returncode == 0
    keeper = json.loads((tmp_path / "state" / "curate" / "cluster.json").read_text())["pid"]
    heads: list[int] = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            program = (folder / "cmdline").read_bytes().split(b"\0")[0]
            if program.endswith(b"gcs_server") and os.getsid(int(folder.name)) == keeper:
                heads.append(int(folder.name))
    try:
        os.kill(heads[0], signal.SIGSTOP)
        done = curate(root, "materialize", "--select", "source_videos")
        assert done.returncode == 0, done.stderr
        assert "does not answer: this run starts one of its own" in done.stderr.replace("\n", " ")
        assert json.loads(curate(root, "status", "--json").stdout)["assets"][0]["rows"] == {"ok": 2}
    finally:
        curate(root, "down")
    assert wait_until(lambda: not runs(heads[0]), 30)


def test_an_interrupted_run_leaves_no_process_behind(videos, tmp_path):
    # Decoding processes are given no variables but those of the language and the like.
    root, mark = tmp_path / "data", f"LC_CURATE_TEST={tmp_path}"
    curate(root, "add", str(videos))
    (root / "curate.yaml").write_text(SETTINGS.replace("in_process", "ray"))
    environment = {**os.environ, "CURATE_ROOT": str(root), "XDG_STATE_HOME": str(tmp_path / "state")}
    environment |= dict([mark.split("=", 1)])
    command = [sys.executable, "-m", "curate_cli.main", "materialize", "--select", "source_videos,shot_signals"]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not any("gpu_kernels.sandbox" in each for each in marked_processes(mark)):  # a worker decodes
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate()
    assert run.returncode == 130
    assert b"canceled; what was committed is kept" in said
    assert _statuses(root) == ["CANCELED"]
    deadline = time.monotonic() + 30
    while left := marked_processes(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def _statuses(root: Path) -> list[str]:
    """Of all runs that Dagster knows."""
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(root / "dagster")) as instance:
        return [run.status.value for run in instance.get_runs()]


@pytest.mark.deep
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_can_be_canceled_at_any_moment(videos, tmp_path, number):
    """At each some libraries are still imported, Dagster's database is made, Dagster puts signals off, a stage runs."""
    root = tmp_path / "data"
    curate(root, "add", str(videos))
    (root / "curate.yaml").write_text(SETTINGS)
    for seconds in (0.2, 0.5, 1, 1.5, 2, 2.5, 2.9, 3, 3.1, 3.2, 3.5, 4, 5, 6):
        run = subprocess.Popen(
            [sys.executable, "-m", "curate_cli.main", "materialize", "--force"],
            env={**os.environ, "CURATE_ROOT": str(root), "DAGSTER_HOME": str(root / "dagster")},
            stderr=subprocess.PIPE,
        )
        time.sleep(seconds)
        going = run.poll() is None
        run.send_signal(number)
        _, said = run.communicate(timeout=120)
        if going:
            assert run.returncode == 130, (seconds, said)
            assert b"canceled; what was committed is kept" in said
    assert set(_statuses(root)) <= {"CANCELED", "SUCCESS"}


def marked_processes(mark: str) -> list[str]:
    """Command lines of all processes whose environment has `mark`: a run's, and all that it started."""
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["add", "/no/such/folder"], "/no/such/folder does not exist"),
        (["materialize"], "curate add"),
        (["status"], "there is no root at "),
        (["plan", "--config", "/no/such.yaml"], "no root"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_exit_code_2(tmp_path, arguments, named):
    done = curate(tmp_path / "data", *arguments)
    assert done.returncode == 2
    assert named in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_errors_are_json_too(tmp_path):
    done = curate(tmp_path / "data", "add", "/no/such/folder", "--json")
    assert done.returncode == 2
    assert "/no/such/folder" in json.loads(done.stdout)["error"]["message"]

"""What a user sees of errors: one sentence or one document, an exit code, and a traceback only where it helps."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate_resources.sources.manifests import Entry, Manifest, Manifests
from curate_resources.storage.root import Storage

STATE = "curate/curate.log"

_DENIED = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.getuid() == 0 else []
"""The permissions of files hold for root, too, once it has given up its capabilities."""

BROKEN = """
import sys, warnings
import curate_assets.operations.status
def broken(storage):
    warnings.warn("a library has an opinion")
    return {}["nothing of this name"]
curate_assets.operations.status.status_of = broken
from curate_cli.main import main
sys.argv = ["curate", *sys.argv[1:]]
main()
"""

BROKEN_STEP = """
import sys
import curate_assets.orchestration.multi_assets
def broken(*arguments):
    return {}["nothing of this name"]
curate_assets.orchestration.multi_assets.materialized = broken
from curate_cli.main import main
sys.argv = ["curate", *sys.argv[1:]]
main()
"""


def curate(root: Path, *arguments: str, code: list[str] | None = None, prefix: tuple[str, ...] = ()):
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    environment |= {"CURATE_ROOT": str(root), "XDG_STATE_HOME": str(root.parent / "state")}
    command = [*prefix, sys.executable, *(code or ["-m", "curate_cli.main"]), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def root(tmp_path) -> Path:
    """A root of one shard."""
    made = tmp_path / "data"
    video = Entry(uri=str(tmp_path / "a.mp4"), bytes=1, version="1")
    Manifests(Storage(str(made))).write(Manifest(shard="a-000000", entries=(video,)))
    return made


@pytest.mark.skipif(bool(_DENIED) and shutil.which("setpriv") is None, reason="root is refused nothing without setpriv")
@pytest.mark.parametrize("command", [("report",), ("add", "videos")])
def test_a_root_that_cannot_be_written_to_is_one_sentence(root, command, monkeypatch):
    videos = root.parent / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes(b"content")
    monkeypatch.chdir(root.parent)
    root.chmod(0o555)
    try:
        done = curate(root, *command, prefix=tuple(_DENIED))
        document = json.loads(curate(root, *command, "--json", prefix=tuple(_DENIED)).stdout)
    finally:
        root.chmod(0o755)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {root}") and "permission is denied; give this user the right to it" in line
    assert document == {"error": {"type": "OperatingError", "message": line.removeprefix("error: ")}}
    assert "Traceback" in (root.parent / "state" / STATE).read_text()


def test_a_file_where_the_root_should_be_is_named_by_every_command(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for command in (["status"], ["clean"], ["add", str(tmp_path)]):
        done = curate(file, *command, "--json")
        assert done.returncode == 1, command
        assert str(file) in json.loads(done.stdout)["error"]["message"]
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("ftp://server/videos", "cannot open ftp://server/videos"),
        ("s3://", "no name of a bucket"),
        ("s3:/bucket/videos", "write s3://, with two slashes"),
        ("file://server/videos", "names the machine 'server'"),
        ("two\nlines", "control character"),
    ],
)
def test_a_root_that_cannot_be_one_is_refused_in_one_sentence(tmp_path, root, said):
    done = curate(tmp_path, "status", "--root", root)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and said in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "plan", "materialize", "clean", "ui", "config show"])
def test_nothing_is_said_of_a_root_that_is_not_there(tmp_path, command):
    done = curate(tmp_path / "mistyped", *command.split())
    assert done.returncode == 2
    assert f"there is no root at {tmp_path / 'mistyped'}" in done.stderr and done.stdout == ""
    assert not (tmp_path / "mistyped").exists()


def test_a_bug_in_a_step_shows_as_one(root):
    done = curate(root, "materialize", "--select", "source_videos", code=["-c", BROKEN_STEP])
    assert done.returncode == 70
    log = root.parent / "state" / STATE
    assert "this is a bug in curate" in done.stdout and f"its traceback is in {log}" in done.stdout
    assert "in broken" in log.read_text()


def test_a_bug_shows_as_one_and_its_traceback_is_in_the_log(root):
    done = curate(root, "status", code=["-c", BROKEN])
    assert done.returncode == 70
    log = root.parent / "state" / STATE
    assert f"its traceback is in {log}" in done.stderr and "KeyError" in done.stderr
    assert "Traceback" not in done.stderr and "opinion" not in done.stderr
    assert "Traceback" in log.read_text() and "opinion" in log.read_text()
    document = json.loads(curate(root, "status", "--json", code=["-c", BROKEN]).stdout)["error"]
    assert (document["type"], document["log"]) == ("Bug", str(log))
    shown = curate(root, "status", "--debug", code=["-c", BROKEN])
    assert shown.returncode == 70 and "Traceback" in shown.stderr and "opinion" in shown.stderr


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("status --no-such-option-of-this-name-is-there-nor-will-it-ever-be", "there-nor-will-it-ever-be"),
        ("calibrate --percentile 60", "'--percentile': Input should be less than or equal to 50"),
        ("materialize --mode fast", "Invalid value for '--mode': 'fast' is not one of 'auto'"),
        ("materialise", "No such command 'materialise'. Did you mean 'materialize'?"),
        ("export", "Missing option '--to'"),
    ],
)
def test_a_call_that_cannot_be_understood_is_one_sentence_and_one_document(root, call, said):
    done = curate(root, *call.split())
    document = json.loads(curate(root, *call.split(), "--json").stdout)["error"]
    (line,) = done.stderr.splitlines()
    assert (done.returncode, line, document["type"]) == (2, f"error: {document['message']}", "UsageError")
    assert said in line and " --help`" in line


def test_help_is_shown_where_nothing_is_asked_for(root):
    for call in ([], ["config"]):
        done = curate(root, *call)
        assert (done.returncode, "Usage:" in done.stdout, done.stderr) == (2, True, "")


def test_settings_that_cannot_be_read_are_named(root):
    for path, content in (("gone.yaml", None), ("binary.yaml", b"\xff\xfe\x00"), ("list.yaml", b"- 1")):
        if content is not None:
            (root.parent / path).write_bytes(content)
        done = curate(root, "plan", "--config", str(root.parent / path))
        assert done.returncode == 2 and path in done.stderr, done.stderr


def test_what_is_piped_is_not_torn(root):
    done = curate(root, "query", f"SELECT '{'x' * 300}' AS long, 1 AS one")
    assert any("x" * 300 in line and "1" in line for line in done.stdout.splitlines())


def test_shards_that_gave_nothing_are_told_from_those_never_made(root):
    from curate_resources.declarations.table import Recipe
    from curate_resources.tables.history import History, Record

    record = Record("clips", "a-000000", 1, Recipe("1", {}, None), {}, 0, {}, 0, 0, 0.0, 0, 1, "", {})
    History(Storage(str(root))).append(record)
    states = {each["name"]: each for each in json.loads(curate(root, "status", "--json").stdout)["assets"]}
    assert (states["clips"]["missing"], states["clips"]["without_rows"]) == ([], ["a-000000"])
    assert (states["captions"]["missing"], states["captions"]["without_rows"]) == (["a-000000"], [])


def test_source_files_that_are_gone_are_named_by_plan_and_status(root):
    video = root.parent / "a.mp4"
    for command in ("plan", "status"):
        assert f"1 source files are gone: {video}. Their rows stay" in curate(root, command).stdout
        gone = {"files": 1, "first": [str(video)], "complete": True}
        assert json.loads(curate(root, command, "--json").stdout)["gone"] == gone
    video.write_bytes(b"v")
    for command in ("plan", "status"):
        assert "gone" not in curate(root, command).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_query_is_canceled_while_duckdb_computes(root, number):
    environment = {**os.environ, "CURATE_ROOT": str(root), "XDG_STATE_HOME": str(root.parent / "state")}
    sql = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    command = [sys.executable, "-m", "curate_cli.main", "query", sql, "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    while not _maps(process.pid, "duckdb"):
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["error"] == {"type": "Canceled", "message": "canceled; what was committed is kept"}


def _maps(process: int, library: str) -> bool:
    """Whether a process has loaded a library."""
    return library in Path(f"/proc/{process}/maps").read_text()


def test_bytes_that_are_no_characters_are_an_error_like_others(root):
    """The log has every command's line; it takes them, too."""
    done = curate(root, "search", "road \udcff")
    assert done.returncode == 2 and "words are no characters of UTF-8" in done.stderr
    assert "Traceback" not in done.stderr

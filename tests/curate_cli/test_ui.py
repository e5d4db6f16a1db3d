"""`curate ui` as a user starts and ends it."""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

from curate_assets.orchestration.code_location import LOCATION, MODULE, WORKSPACE
from curate_assets.orchestration.dagster_services import free_port
from curate_cli.app import app
from curate_resources.sources.manifests import Manifest, Manifests
from curate_resources.storage.root import Storage

CHECKOUT = re.compile(r"docs/[\w-]+\.md|\bmake (dev|env|demo)\b")

QUERY = """{
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } }
  instance { daemonHealth { allDaemonStatuses { daemonType healthy } } }
  assetNodeOrError(assetKey: {path: ["clips"]}) { ... on AssetNode { partitionKeys } }
}"""


def test_a_port_that_is_in_use_is_refused_or_passed_over(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    Manifests(Storage(str(tmp_path / "data"))).write(Manifest(shard="a-000000", entries=()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", [port]) is None
        assert free_port("127.0.0.1", [port, 0]) == 0
        done = CliRunner().invoke(app, ["ui", "--root", str(tmp_path / "data"), "--port", str(port)])
        nowhere = CliRunner().invoke(app, ["ui", "--root", str(tmp_path / "data"), "--host", "192.0.2.1"])
    assert "192.0.2.1: it is no address of this machine" in nowhere.stderr
    assert done.exit_code == 2
    assert f"port {port} of 127.0.0.1: it is in use" in " ".join(done.stderr.split())


def test_the_location_has_the_name_that_runs_refer_to():
    import yaml

    (loaded,) = yaml.safe_load(WORKSPACE.read_text())["load_from"]
    assert loaded == {"python_module": {"module_name": MODULE, "location_name": LOCATION}}


def test_documentation_is_installed_with_the_command():
    listed = CliRunner().invoke(app, ["docs"]).stdout
    assert "curate docs storage" in listed
    assert CliRunner().invoke(app, ["docs", "storage"]).stdout.startswith("# Storage")
    assert "there is no page 'storag'; did you mean 'storage'" in " ".join(
        CliRunner().invoke(app, ["docs", "storag"]).stderr.split()
    )


def test_no_message_names_a_file_that_only_a_checkout_has():
    """The commands that messages name instead exist wherever the package is installed."""
    repository = Path(__file__).resolve().parents[2]
    packages = ("curate_assets", "curate_cli", "curate_resources", "gpu_kernels")
    modules = [
        path for name in packages for path in (repository / name).rglob("*.py") if "docs_pages" not in path.parts
    ]
    found: list[str] = []
    for path in modules:
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
        found += [f"{path.name}: {text.value}" for text in texts if CHECKOUT.search(str(text.value))]
    assert found == []


@pytest.mark.deep
def test_it_serves_the_root_and_ends_with_all_that_it_started(tmp_path):
    """From any folder, as it is with an installed wheel."""
    root, mark = tmp_path / "data", f"CURATE_TEST_UI={tmp_path}"
    Manifests(Storage(str(root))).write(Manifest(shard="a-000000", entries=()))
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= dict([mark.split("=", 1)])
    command = [sys.executable, "-m", "curate_cli.main", "ui", "--root", str(root)]
    started = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", said)):
            line = started.stdout.readline()
            assert line, said
            said += line
        state = until_healthy(found[0])
        assert state["workspaceOrError"]["locationEntries"] == [{"name": "curate", "loadStatus": "LOADED"}]
        assert state["assetNodeOrError"]["partitionKeys"] == ["a-000000"]
        second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert second.returncode == 2 and found[0] in second.stderr
        started.send_signal(signal.SIGTERM)
        assert started.wait(60) == 0
    finally:
        started.kill()
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if mark in environment_of(pid)]


def until_healthy(url: str):
    """The state, once all daemons have told of themselves."""
    request = Request(f"{url}/graphql", json.dumps({"query": QUERY}).encode(), {"Content-Type": "application/json"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(URLError, TimeoutError), urlopen(request, timeout=60) as answer:
            state = json.load(answer)["data"]
            if all(each["healthy"] for each in state["instance"]["daemonHealth"]["allDaemonStatuses"]):
                return state
        time.sleep(0.5)
    raise AssertionError("the daemon is not there")


def environment_of(process: Path) -> str:
    with suppress(OSError):
        return (process / "environ").read_text(errors="replace")
    return ""

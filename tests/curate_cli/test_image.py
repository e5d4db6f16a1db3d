"""`curate image`, with programs in place of engines that note what they are told; tests/docker has a real one."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from curate_cli.app import app

ROOT = Path(__file__).resolve().parents[2]


class Engines:
    """Engines of which each call is noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self, name: str, *, code: int = 0, asked: int = 0) -> None:
        """`code`: what builds and pushes end with. `asked`: likewise, of the question whether it works."""
        file = self._folder / name
        notes = shlex.quote(str(self._folder / "calls"))
        file.write_text(
            f'#!/bin/sh\ncase "$1" in *version*) echo "{name} has no daemon" >&2; exit {asked};; esac\n'
            f'printf "%s\\n" "{name} $*" >> {notes}\nexit {code}\n'
        )
        file.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        return [line.split() for line in (self._folder / "calls").read_text().splitlines()]


@pytest.fixture
def engines(tmp_path, monkeypatch) -> Engines:
    (git,) = [Path(each) / "git" for each in os.environ["PATH"].split(":") if (Path(each) / "git").exists()][:1]
    (tmp_path / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(ROOT)
    return Engines(tmp_path)


def image(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, where engines write to its standard error."""
    command = [sys.executable, "-m", "curate_cli.main", "image", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["image", *arguments, "--json"])
    assert result.exit_code == 2
    return json.loads(result.stdout)["error"]["message"]


def test_the_first_engine_that_works_builds_and_pushes_every_image(engines):
    engines.install("docker", asked=1)
    engines.install("buildah")
    done = image("build", "--registry", "r.example.org/video/", "--tag", "7", "--environment", "vllm", "--json")
    names = {each: f"r.example.org/video/curate-graph-{each}:7" for each in ("control", "worker", "worker-vllm")}
    assert json.loads(done.stdout)["images"] == names, done.stderr
    targets = [(*words[:2], words[words.index("--target") + 1]) for words in engines.calls]
    assert targets == [("buildah", "build", target) for target in names]
    told = {"--layers", "--build-arg=VERSION=7", "--build-arg=TORCH_BACKEND=cpu"}
    assert all(told <= {*words} for words in engines.calls)
    done = image("push", "--registry", "r.example.org/video", "--tag", "7")
    assert engines.calls[3:] == [["buildah", "push", names[target]] for target in ("control", "worker")]
    assert yaml.safe_load(done.stdout)["images"] == {
        "registry": "r.example.org/video",
        "control": {"repository": "curate-graph-control", "tag": "7"},
        "worker": {"repository": "curate-graph-worker", "tag": "7"},
    }


def test_what_fails_is_named(engines, tmp_path):
    assert "docker is not installed; podman is not installed; buildah" in refused("build")
    engines.install("docker", asked=1)
    assert "docker has no daemon" in refused("push", "--registry", "r", "--engine", "docker")
    engines.install("podman", code=3)
    assert f"{tmp_path} has no docker/Dockerfile" in refused("build", "--source", str(tmp_path))
    assert "write NAME=VALUE" in refused("build", "--build-arg", "BASE")
    done = image("build")
    assert done.returncode == 1 and "`podman build` failed with exit code 3" in done.stderr and done.stdout == ""

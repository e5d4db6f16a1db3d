"""`curate doctor --deployment` against a stand-in of a Kubernetes namespace: what is wrong is one line that says so."""

import json
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate_assets.doctor import DEPLOYMENT_CHECKS, PROBES, namespace, probe
from curate_assets.doctor.check import Deployment, examined
from curate_resources.launchers.kuberay import RIGHTS
from curate_resources.storage.root import Storage

GPU = {"limits": {"nvidia.com/gpu": "1"}}
HEAD = {
    "imagePullSecrets": [{"name": "registry"}],
    "containers": [{"name": "ray-head", "image": "curate:1", "envFrom": [{"secretRef": {"name": "storage"}}]}],
    "volumes": [{"name": "tls", "secret": {"secretName": "tls", "optional": True}}],
}


@pytest.fixture
def template() -> dict[str, Any]:
    worker = {"spec": {"containers": [{"name": "ray-worker", "image": "curate:1", "resources": GPU}]}}
    return {
        "rayVersion": version("ray"),
        "headGroupSpec": {"template": {"spec": HEAD}},
        "workerGroupSpecs": [{"groupName": "gpu", "template": worker}],
    }


@pytest.fixture
def findings(tmp_path: Path, kubernetes: Any, template: Any, monkeypatch: Any) -> Callable[..., dict[str, Any]]:
    """All findings by name; with `python`, those of a probe whose driver that is, too."""
    monkeypatch.setattr(namespace, "_POLL_SECONDS", 0.05)

    def found(python: str = "", **cluster: Any) -> dict[str, Any]:
        (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(template))
        settings = {
            "mode": "kuberay",
            "namespace": kubernetes.namespace,
            "kuberay_template": str(tmp_path / "cluster.yaml"),
            "python": python or sys.executable,
            **cluster,
        }
        storage = Storage(str(tmp_path / "root"))
        storage.write("curate.yaml", yaml.safe_dump({"cluster": settings}).encode())
        checks = (*DEPLOYMENT_CHECKS, *(PROBES if python else ()))
        return {line.name: line.finding for line in examined(checks, Deployment(storage))}

    return found


def wrong(found: dict[str, Any]) -> dict[str, str]:
    return {name: finding.status for name, finding in found.items() if finding.status != "ok"}


def test_a_namespace_in_which_runs_work(kubernetes, findings):
    kubernetes.rights = set(RIGHTS)
    found = findings()
    assert not wrong(found), found
    assert "v1.36.2" in found["Kubernetes"].found
    assert "may not see which version" in found["KubeRay"].found
    assert found["secrets"].found.startswith("not looked up") and "registry, storage" in found["secrets"].found
    assert kubernetes.asked <= set(RIGHTS), "no more than a run may do"
    assert not kubernetes.jobs


def no_definitions(kubernetes: Any, template: Any) -> None:
    kubernetes.installed = False


def an_old_operator(kubernetes: Any, template: Any) -> None:
    kubernetes.operators = ["quay.io/kuberay/operator:v1.4.2"]


def no_operator(kubernetes: Any, template: Any) -> None:
    kubernetes.operators = []


def a_right_too_few(kubernetes: Any, template: Any) -> None:
    kubernetes.rights = set(RIGHTS) - {("", "pods/log", "get"), ("", "events", "list")}


def a_misspelt_key(kubernetes: Any, template: Any) -> None:
    template["headGroupSpecc"] = {}


def another_ray(kubernetes: Any, template: Any) -> None:
    template["rayVersion"] = "2.59.0"


def no_ray_version(kubernetes: Any, template: Any) -> None:
    del template["rayVersion"]


def no_secret(kubernetes: Any, template: Any) -> None:
    kubernetes.secrets = ["registry"]


@pytest.mark.parametrize(
    ("plant", "name", "status", "said", "remedy"),
    [
        (no_definitions, "KubeRay", "failed", "knows no RayJobs", "1.7 or later"),
        (an_old_operator, "KubeRay", "warning", "v1.4.2", "upgrade"),
        (no_operator, "KubeRay", "warning", "no operator", "see that it runs"),
        (a_right_too_few, "rights", "failed", "may not get pods/log, list events", "bind the role"),
        (
            a_misspelt_key,
            "template",
            "failed",
            'unknown field "spec.rayClusterSpec.headGroupSpecc"',
            "kuberay_template",
        ),
        (another_ray, "versions", "warning", "rayVersion is 2.59.0", "one version"),
        (no_ray_version, "versions", "warning", "no rayVersion", "add it"),
        (no_secret, "secrets", "failed", "no secret storage in namespace curation", "kubectl -n curation create"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_one_fault_is_one_line_with_a_remedy(kubernetes, template, findings, plant, name, status, said, remedy):
    kubernetes.secrets = ["registry", "storage"]
    plant(kubernetes, template)
    found = findings()
    others = set(wrong(found)) - {"template"} if plant in (no_definitions, a_right_too_few) else set(wrong(found))
    assert others == {name}, wrong(found)
    finding = found[name]
    assert finding.status == status and said in finding.found and remedy in finding.remedy, finding


def test_a_deployment_without_kubernetes_is_told(findings):
    found = findings(mode="local")
    assert "cluster.mode is local" in found["Kubernetes"].found and found["rights"].status == "warning"


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_what_a_pod_finds_is_told_and_its_rayjob_deleted(kubernetes, operator, findings, tmp_path):
    bad = {"part": "a GPU from zero", "status": "failed", "found": "no worker came", "remedy": "add machines"}
    good = {"part": "a worker from zero", "status": "ok", "found": "12 s", "remedy": ""}
    lines = [json.dumps({"curate doctor": each}) for each in (good, bad)]
    found = findings(script(tmp_path, f"echo not ours; printf '%s\\n' {shlex.join(lines)}"))
    assert found["probe"].status == "ok" and found["a worker from zero"].found == "12 s"
    assert (found["a GPU from zero"].status, found["a GPU from zero"].remedy) == ("failed", "add machines")
    assert found["in the head: storage"].found == "the probe did not come to this"
    assert not kubernetes.jobs or all("deletionTimestamp" in job["metadata"] for job in kubernetes.jobs.values())


def test_a_pod_that_cannot_start_fails_the_probe_with_the_reason(kubernetes, operator, findings, tmp_path):
    operator.restricted = True
    found = findings(script(tmp_path, "true"), pending_minutes=0.005)
    assert found["probe"].status == "failed" and "violates PodSecurity" in found["probe"].found
    assert found["a worker from zero"].status == "warning"


@pytest.mark.deep
def test_the_probe_itself_says_what_it_finds(kubernetes, operator, template, findings, monkeypatch):
    """Its Ray is one of this machine, without GPUs; the template asks for none."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_USAGE_STATS_EXTRA_TAGS", "kuberay_version=v1.7.0;kuberay_crd=RayJob")
    template["workerGroupSpecs"], kubernetes.secrets = [], ["registry", "storage"]
    found = findings(sys.executable)
    assert not wrong(found), found
    assert "KubeRay v1.7.0" in found["in the head: versions"].found
    assert "written, read back" in found["in the head: storage"].found
    assert f"ray {version('ray')}" in found["a worker from zero"].found


def test_a_folder_that_is_not_mounted_in_a_pod_is_told(tmp_path):
    found = probe.storage(str(tmp_path / "not mounted"))
    assert found.status == "failed" and "mount the root's volume" in found.remedy

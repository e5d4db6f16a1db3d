"""The chart as Helm renders it, for every set of values that the project has."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "curate-graph"
SETS = {
    path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text())
    for folder in (CHART / "ci", ROOT / "helm" / "examples")
    for path in sorted(folder.glob("*-values.yaml"))
}
WITH_DAGSTER = [name for name, values in SETS.items() if values.get("dagster", {}).get("enabled", True)]

Object = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """A chart rendered with values, as a release in the namespace `curation`."""

    values: Mapping[str, Any]
    templates: Mapping[str, str]

    @cached_property
    def objects(self) -> list[Object]:
        """All objects."""
        texts = (text for name, text in self.templates.items() if not name.endswith("NOTES.txt"))
        return [found for text in texts for found in yaml.load_all(text, yaml.CSafeLoader) if found]

    @property
    def notes(self) -> str:
        """What Helm prints."""
        (notes,) = (text for name, text in self.templates.items() if name.endswith("NOTES.txt"))
        return notes

    def one(self, kind: str, suffix: str) -> Object:
        """The object of a kind whose name ends so."""
        (found,) = (
            each for each in self.objects if each["kind"] == kind and each["metadata"]["name"].endswith(f"-{suffix}")
        )
        return found

    def kinds(self, *kinds: str) -> list[Object]:
        """All of some kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def file(self, config: str, name: str) -> Any:
        """A YAML file in a ConfigMap, parsed; None where it is not there."""
        text = self.one("ConfigMap", config)["data"].get(name)
        return None if text is None else yaml.load(text, yaml.CSafeLoader)

    @property
    def ray_cluster(self) -> Object | None:
        """The cluster that runs make."""
        return self.file("settings", "cluster.yaml")

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Templates of all pods, those of Ray among them, and what they are of."""
        for each in self.objects:
            if each["kind"] == "Pod":
                yield each["metadata"]["name"], each
            elif "template" in each.get("spec", {}):
                yield each["metadata"]["name"], each["spec"]["template"]
        if cluster := self.ray_cluster:
            yield "ray head", cluster["spec"]["headGroupSpec"]["template"]
            for group in cluster["spec"]["workerGroupSpecs"]:
                yield f"ray {group['groupName']}", group["template"]

    @property
    def run_context(self) -> dict[str, Any]:
        """What the code server says of the pods of runs."""
        (container,) = self.one("Deployment", "code-server")["spec"]["template"]["spec"]["containers"]
        return json.loads(environment(container)["DAGSTER_CONTAINER_CONTEXT"])


def environment(container: Object) -> dict[str, str]:
    """Plain environment variables of a container."""
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


class Helm:
    """Helm, with the chart loaded. What it refuses is a ValueError."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("helm_process.py")), str(CHART)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, function: str, values: Mapping[str, Any], **options: Any) -> Any:
        """`render`, `lint` or `validate_schema`."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([function, values, options]), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["result"]


@pytest.fixture(scope="session")
def chart() -> Iterator[Helm]:
    """The chart."""
    helm = Helm()
    with helm.process:
        yield helm


@pytest.fixture(scope="session")
def render(chart: Helm) -> Any:
    """`render(values)` is a `Release`."""

    def rendered(values: Mapping[str, Any], name: str = "curate-graph") -> Release:
        return Release(values, chart.call("render", values, name=name, namespace="curation"))

    return rendered


@pytest.fixture(scope="session")
def releases(render: Any) -> dict[str, Release]:
    """A release for every set of values, by its name."""
    return {name: render(values) for name, values in SETS.items()}


@pytest.fixture(params=SETS)
def release(request: pytest.FixtureRequest, releases: dict[str, Release]) -> Release:
    """Each of them."""
    return releases[request.param]


@pytest.fixture(params=WITH_DAGSTER)
def dagster_release(request: pytest.FixtureRequest, releases: dict[str, Release]) -> Release:
    """Each that has Dagster in it."""
    return releases[request.param]


@pytest.fixture(scope="session")
def unrestricted() -> Any:
    """`unrestricted(pod_spec)` says what the Pod Security Standard *restricted* refuses."""
    return _unrestricted


def _unrestricted(pod: Object) -> list[str]:
    found: list[str] = []
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [f"volume {each['name']}" for each in pod.get("volumes", []) if not (each.keys() - {"name"}) <= allowed]
    found += [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    outer = pod.get("securityContext", {})
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext", {})
        context = {**outer, **own}
        checks = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser": context.get("runAsUser") != 0,
            "seccompProfile": context.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
            "drop": "ALL" in own.get("capabilities", {}).get("drop", []),
            "add": set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {name}" for name, holds in checks.items() if not holds]
    return found


@pytest.fixture(scope="session")
def rights() -> Any:
    """`rights(role)` is group, resource and verb of all that a role allows."""
    return _rights


def _rights(role: Object) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

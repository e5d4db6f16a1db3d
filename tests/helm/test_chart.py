"""The chart's objects: what Kubernetes, Helm and the policies of clusters ask of them. Nothing here needs a cluster."""

import functools
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils as kubernetes_schemas
from packaging.version import Version
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "curate-graph"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
LEAST = yaml.safe_load((CHART / "ci" / "minimal-values.yaml").read_text())
OLDEST, *BETWEEN, NEWEST = sorted(
    {each for each in kubernetes_schemas.all_versions() if Version(each) >= Version("1.30")}, key=Version
)

kubernetes_schemas.schema_contents = functools.cache(kubernetes_schemas.schema_contents)


class YamlFile(SingleFileSnapshotExtension):
    """One file for each set of values, to be read in a review."""

    _write_mode = WriteMode.TEXT
    file_extension = "yaml"

    def serialize(self, data: Any, **_: Any) -> str:
        return yaml.safe_dump_all(data, sort_keys=False, width=120)


@pytest.mark.parametrize("name", ["minimal", "restricted", "gpu"])
def test_the_chart_lints(name, chart, releases):
    report = chart.call("lint", releases[name].values, strict=True, namespace="curation", kube_version="v1.30.0")
    assert report["errors"] == [] and not [each for each in report["messages"] if each["severity"] > 1], report


@pytest.mark.parametrize("name", [path.name.removesuffix("-values.yaml") for path in sorted((CHART / "ci").iterdir())])
def test_every_set_of_values_renders_as_reviewed(name, releases, snapshot):
    of_others = {"PrometheusRule"}  # files of rules and dashboards have tests of their own
    objects = [each for each in releases[name].objects if each["kind"] not in of_others]
    objects = [each for each in objects if not any(key.endswith(".json") for key in each.get("data", {}))]
    assert objects == snapshot(extension_class=YamlFile)


CUSTOM: dict[str, dict[str, Any]] = {
    "PodMonitor": {
        "type": "object",
        "required": ["selector", "podMetricsEndpoints"],
        "additionalProperties": False,
        "properties": {
            "selector": {"type": "object", "required": ["matchLabels"]},
            "podMetricsEndpoints": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"port": {"type": "string"}, "interval": {"type": "string"}},
                },
            },
        },
    },
    "PrometheusRule": {
        "type": "object",
        "required": ["groups"],
        "additionalProperties": False,
        "properties": {"groups": {"type": "array", "items": {"type": "object", "required": ["name", "rules"]}}},
    },
    "HTTPRoute": {
        "type": "object",
        "required": ["parentRefs", "rules"],
        "additionalProperties": False,
        "properties": {key: {"type": "array", "minItems": 1} for key in ("parentRefs", "hostnames", "rules")},
    },
}
"""The part in use of the specs of kinds that are not Kubernetes' own."""


@pytest.mark.parametrize("version", [OLDEST, *(pytest.param(each, marks=pytest.mark.deep) for each in BETWEEN), NEWEST])
def test_every_object_is_one_of_every_kubernetes(version, releases, validated_objects):
    objects = {json.dumps(each, sort_keys=True): each for release in releases.values() for each in release.objects}
    objects |= {text: each for text, each in validated_objects.items() if text not in objects}
    unknown = set()
    for each in objects.values():
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(each["kind"])
            jsonschema.validate(each["spec"], CUSTOM[each["kind"]])
        except kubernetes_validate.ValidationError as error:
            raise AssertionError(
                f"{each['kind']} {each['metadata']['name']}: {error.json_path}: {error.message}"
            ) from error
    assert {"HTTPRoute", "PodMonitor"} <= unknown <= set(CUSTOM)
    assert len(objects) > 100


@pytest.fixture(scope="module")
def validated_objects(releases) -> dict[str, Any]:
    """Beside the chart's own: the pods of Ray clusters, and what examples and pages hold."""
    found = list(yaml.safe_load_all((ROOT / "helm" / "examples" / "postgres.yaml").read_text()))
    pages = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", pages, re.MULTILINE | re.DOTALL)]
    found += [each for each in blocks if "kind" in each and not each["apiVersion"].startswith(("ray.io", "kueue"))]
    for release in releases.values():
        for name, pod in release.pods():
            if name.startswith("ray "):
                template = {"metadata": pod["metadata"], "spec": pod["spec"]}
                found.append(
                    {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "ray"}, "template": template}
                )
    return {json.dumps(each, sort_keys=True): each for each in found}


def test_pod_security_restricted_admits_every_pod(release, unrestricted, validated_objects):
    pods = list(release.pods())
    pods += [
        (each["kind"], each["spec"]["template"])
        for each in validated_objects.values()
        if "template" in each.get("spec", {})
    ]
    refused = {name: found for name, pod in pods if (found := unrestricted(pod["spec"]))}
    if release.values.get("models", {}).get("cache", {}).get("kind") == "nodePath":
        assert "restricted refuse" in release.notes.replace("\n", " ")
        refused = {name: found for name, found in refused.items() if found != ["volume models"]}
    assert not refused


def test_root_file_systems_are_read_only_and_what_is_written_has_a_volume(release):
    for name, pod in release.pods():
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, (name, container["name"])
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, (name, container["name"])
            assert "memory" in container["resources"]["limits"], (name, container["name"])
            volumes = {each["name"]: each for each in pod["spec"].get("volumes", [])}
            mounted = {each["mountPath"]: volumes[each["name"]] for each in container.get("volumeMounts", [])}
            assert len(mounted) == len(container.get("volumeMounts", [])), "one volume for each place"
            if "HOME" in {each["name"] for each in container.get("env", [])}:
                assert "emptyDir" in mounted["/tmp"] and "emptyDir" in mounted["/home/curate"], (
                    name,
                    container["name"],
                )


def test_only_pods_that_ask_kubernetes_have_a_token(release):
    told = {name: pod["spec"]["automountServiceAccountToken"] for name, pod in release.pods()}
    allowed = {name for name, token in told.items() if token}
    assert {re.sub("^curate.*-", "", name) for name in allowed} <= {"webserver", "daemon", "doctor", "ray head"}
    assert all(each["automountServiceAccountToken"] is False for each in release.kinds("ServiceAccount"))


def test_accounts_that_pods_name_are_there(release):
    made = {each["metadata"]["name"] for each in release.kinds("ServiceAccount")}
    named = {pod["spec"]["serviceAccountName"] for _, pod in release.pods()} - {"default"}
    bound = {subject["name"] for each in release.kinds("RoleBinding") for subject in each["subjects"]}
    assert named | bound <= made
    run = {each for each in made if each.endswith("-run")}
    assert made == named | run, "and no others are made"


def labels_of(pod: Mapping[str, Any]) -> set[tuple[str, str]]:
    return set(pod["metadata"]["labels"].items())


def chosen(selector: Mapping[str, Any], pods: Mapping[str, Any]) -> set[str]:
    """The pods that a selector finds."""
    wanted = set(selector.get("matchLabels", {}).items())
    among = [(each["key"], set(each["values"])) for each in selector.get("matchExpressions", [])]
    return {
        name
        for name, pod in pods.items()
        if wanted <= labels_of(pod) and all(pod["metadata"]["labels"].get(key) in values for key, values in among)
    }


@pytest.fixture
def pods(release) -> dict[str, Any]:
    """All pods, with those of runs, and the labels that KubeRay gives its own."""
    found = dict(release.pods())
    if "ray head" in found:
        head = found["ray head"]
        labels = {**head["metadata"]["labels"], "ray.io/node-type": "head"}
        found["ray head"] = {**head, "metadata": {**head["metadata"], "labels": labels}}
    own = {"curate-graph/release": "curate-graph", "curate-graph/role": "run"}
    container = {"ports": [{"name": "metrics", "containerPort": 9464}]}
    return {**found, "a run": {"metadata": {"labels": own}, "spec": {"containers": [container]}}}


def test_selectors_find_the_pods_that_they_are_for(release, pods):
    for each in release.kinds("Deployment"):
        assert chosen(each["spec"]["selector"], pods) == {each["metadata"]["name"]}
    for each in release.kinds("Service"):
        (name,) = chosen({"matchLabels": each["spec"]["selector"]}, pods)
        ports = {port["name"] for container in pods[name]["spec"]["containers"] for port in container.get("ports", [])}
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
    for each in release.kinds("PodDisruptionBudget"):
        assert len(chosen(each["spec"]["selector"], pods) - {"curate-graph-doctor"}) == 1, each["metadata"]["name"]
    for each in release.kinds("PodMonitor"):
        assert chosen(each["spec"]["selector"], pods), each["metadata"]["name"]


def test_every_pod_is_shut_and_the_openings_are_those_of_pods_that_are_there(release, pods):
    policies = {each["metadata"]["name"]: each["spec"] for each in release.kinds("NetworkPolicy")}
    if release.values.get("networkPolicy", {}).get("enabled", True) is False:
        assert not policies
        return
    deny = policies["curate-graph-deny"]
    assert chosen(deny["podSelector"], pods) == set(pods)
    assert deny["policyTypes"] == ["Ingress", "Egress"] and not deny.keys() & {"ingress", "egress"}
    ours = {"curate-graph/release": "curate-graph"}
    for name, policy in policies.items():
        assert chosen(policy["podSelector"], pods), name
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy.get(way, []):
                for peer in rule.get(peers, []):
                    if ours.items() <= peer.get("podSelector", {}).get("matchLabels", {}).items():
                        assert chosen(peer["podSelector"], pods), f"{name} opens to nobody"
    if "daemon" not in str(policies.keys()):
        return
    into = {
        name
        for rule in policies["curate-graph-code-server"]["ingress"]
        for peer in rule["from"]
        for name in chosen(peer["podSelector"], pods)
    }
    assert {re.sub(r".*-", "", name) for name in into} == {"webserver", "daemon"}


def test_services_that_files_name_are_there(dagster_release):
    services = {each["metadata"]["name"]: each for each in dagster_release.kinds("Service")}
    (own, *_) = dagster_release.file("dagster", "workspace.yaml")["load_from"]
    assert own["grpc_server"]["port"] == services[own["grpc_server"]["host"]]["spec"]["ports"][0]["port"]
    for each in dagster_release.kinds("Ingress"):
        (path,) = each["spec"]["rules"][0]["http"]["paths"]
        assert path["backend"]["service"]["name"] in services
    for each in dagster_release.kinds("HTTPRoute"):
        assert each["spec"]["rules"][0]["backendRefs"][0]["name"] in services


@pytest.mark.parametrize("name", ["c", "a" * 53])
def test_names_fit(name, render, releases):
    for release in (releases["restricted"], releases["gpu"], releases["dagster-plus"]):
        for each in render(release.values, name=name).objects:
            assert len(each["metadata"]["name"]) <= 63, each["metadata"]["name"]
            labels = {**each["metadata"]["labels"], **each.get("spec", {}).get("selector", {}).get("matchLabels", {})}
            assert all(len(value) <= 63 for value in labels.values())


def test_names_are_there_once(releases):
    for release in releases.values():
        names = [(each["kind"], each["metadata"]["name"]) for each in release.objects]
        assert len(names) == len(set(names))
        assert all(each["metadata"]["namespace"] == "curation" for each in release.objects)


def test_one_key_takes_every_image_from_a_mirror(releases):
    release = releases["airgapped"]
    images = {container["image"] for _, pod in release.pods() for container in pod["spec"]["containers"]}
    images.add(environment_of(release)["DAGSTER_CONTAINER_IMAGE"])
    assert len(images) == 3
    assert all(re.fullmatch(r"mirror\.internal:5000/video/[a-z0-9-]+@sha256:[0-9a-f]{64}", each) for each in images), (
        images
    )


def environment_of(release: Any) -> dict[str, str]:
    (container,) = release.one("Deployment", "code-server")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def test_what_is_not_set_is_named_with_its_meaning(render):
    with pytest.raises(ValueError) as error:
        render({})
    for key in ("root: where", "images.registry: where", "database.host: the", "database.secretName: the"):
        assert key in str(error.value)
    with pytest.raises(ValueError, match=r"ray\.groups: there is none"):
        render({**LEAST, "ray": {"groups": {"cpu": None}}})


def test_notes_warn_of_the_ui_without_a_login(render, releases):
    assert "NO LOGIN" in releases["minimal"].notes and "reachable from outside" not in releases["minimal"].notes
    open_to_all = render({**LEAST, "ingress": {"enabled": True, "host": "curation.example.org"}})
    assert "reachable from outside" in open_to_all.notes and "networkPolicy.ui is empty" in open_to_all.notes
    assert "NO LOGIN" not in releases["restricted"].notes


def test_a_login_stands_before_all_of_the_ui(releases):
    release = releases["restricted"]
    server, proxy = release.one("Deployment", "webserver")["spec"]["template"]["spec"]["containers"]
    assert "--host=127.0.0.1" in server["args"] and "ports" not in server
    assert proxy["ports"] == [{"name": "ui", "containerPort": 4180}]
    assert release.one("Service", "webserver")["spec"]["ports"][0]["targetPort"] == "ui"


# values.schema.json


def schemas(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema within one, with its place."""
    if reference := schema.get("$ref"):
        schema = SCHEMA["$defs"][reference.removeprefix("#/$defs/")]
    yield path, schema
    for key, inner in schema.get("properties", {}).items():
        yield from schemas(inner, f"{path}.{key}".lstrip("."))


SCHEMAS = dict(schemas(SCHEMA))
FREE = {path for path, each in SCHEMAS.items() if each["type"] == "object" and not each.get("properties")}


def test_the_schema_knows_every_value_and_no_other():
    def paths(value: Any, path: str = "") -> Iterator[str]:
        yield path
        if isinstance(value, dict) and path not in FREE:
            for key, inner in value.items():
                yield from paths(inner, f"{path}.{key}".lstrip("."))

    inner_of_resources = {path for path in SCHEMAS if re.search(r"resources\.(requests|limits)$", path)}
    inside_files = {path for path in SCHEMAS if path.startswith("sources.")}
    assert set(paths(VALUES)) | inner_of_resources | inside_files == set(SCHEMAS)
    for path, schema in SCHEMAS.items():
        if path not in FREE:
            assert schema["type"] != "object" or schema["additionalProperties"] is False, path
    free = {path for path in FREE if "additionalProperties" not in SCHEMAS[path]}
    assert free == {
        "global",
        "settings",
        "sources.sources",
        "sources.automation",
        "storage.settings",
        "dagster.settings",
        "securityContext.pod",
        "securityContext.container",
        *(path for path in FREE if path.endswith("affinity")),
    }, "what others say the keys of"
    assert all(each.startswith("#/$defs/") for each in re.findall(r'"\$ref": "([^"]*)"', json.dumps(SCHEMA)))


def test_wrong_types_and_unknown_keys_are_refused(chart):
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    checked = 0
    for path, schema in SCHEMAS.items():
        wrong = {"string": 7, "integer": "seven", "boolean": "yes", "array": "one", "object": ["one"]}[schema["type"]]
        if path:
            with pytest.raises(ValueError):
                chart.call("validate_schema", nested(path, wrong))
            checked += 1
        if schema["type"] == "object" and schema.get("additionalProperties") is False:
            with pytest.raises(ValueError, match=r"not allowed|do not match"):
                chart.call("validate_schema", nested(f"{path}.UnknownKey".lstrip("."), 1))
            checked += 1
    assert checked > 180
    for path, bad in {
        "images.control.digest": "sha256:short",
        "networkPolicy.storage.cidrs": ["everywhere"],
        "ray.groups": {"Bad Name": {}},
        "ray.mode": "cluster",
        "models.cache.kind": "disk",
        "dagster.webserver.pathPrefix": "dagster/",
    }.items():
        with pytest.raises(ValueError):
            chart.call("validate_schema", nested(path, bad))


def nested(path: str, value: Any) -> dict[str, Any]:
    """Values in which one is set."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def test_values_of_earlier_versions_still_render(render):
    stored = sorted(Path(__file__).with_name("released_values").glob("*.yaml"))
    assert stored
    for path in stored:
        assert render(yaml.safe_load(path.read_text())).objects, f"values of {path.stem} are no longer accepted"


# What stands beside the chart


def test_versions_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert described["appVersion"] == project["version"] and described["kubeVersion"] == ">=1.30-0"
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert VALUES["ray"]["version"] == pinned["ray"], "the worker image has Ray of constraints.txt"


def test_the_readme_is_current():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "helm" / "readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (CHART / "README.md").read_text() == module.readme(), "run `python helm/readme.py`"
    described = {path for path, _, _ in module.described_values()}
    leaves = {path for path in SCHEMAS if path and not any(other.startswith(f"{path}.") for other in SCHEMAS)}
    leaves = {re.sub(r"\.(requests|limits)$", "", path) for path in leaves if not path.startswith("sources.")}
    assert leaves <= described, "every value has a comment"


def test_dashboards_and_rules_are_taken_as_they_lie(render):
    release = render({**LEAST, "monitoring": {"metrics": True, "dashboards": True, "prometheusOperator": "always"}})
    boards = {path.name: path.read_text() for path in (CHART / "dashboards").glob("*.json")}
    given = [each for each in release.kinds("ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    assert {name: text for each in given for name, text in each["data"].items()} == boards
    rules = [yaml.safe_load(path.read_text()) for path in sorted((CHART / "rules").glob("*.yaml"))]
    assert [each["spec"] for each in release.kinds("PrometheusRule")] == rules
    quiet = render({**LEAST, "monitoring": {"prometheusOperator": "auto"}})
    assert not quiet.kinds("PodMonitor", "PrometheusRule"), "a cluster that does not know them gets none"

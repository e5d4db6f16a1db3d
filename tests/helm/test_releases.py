"""What the chart gives to Dagster, to runs and to Ray is read by their own code."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext

from curate_assets.orchestration.code_location import LOCATION, MODULE, job_code
from curate_assets.settings.resolve import validated
from curate_resources.sources.declared import Sources
from curate_resources.storage.profiles import StorageSettings

ROOT = Path(__file__).resolve().parents[2]


# Dagster


def test_dagster_reads_its_settings(dagster_release, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", "secret")
    (tmp_path / "dagster.yaml").write_text(dagster_release.one("ConfigMap", "dagster")["data"]["dagster.yaml"])
    ref = InstanceRef.from_dir(str(tmp_path))  # refuses unknown keys
    assert ref.run_launcher_data is not None and ref.run_launcher_data.class_name == "K8sRunLauncher"
    for data in (ref.run_launcher_data, ref.compute_logs_data, ref.run_storage_data):
        assert data is not None
        kind = getattr(__import__(data.module_name, fromlist=["_"]), data.class_name)
        result = process_config(resolve_to_config_type(kind.config_type()), data.config_dict)
        assert result.success, result.errors
    database = dagster_release.file("dagster", "dagster.yaml")["storage"]["postgres"]["postgres_db"]
    assert database["scheme"] == "postgresql+psycopg2"
    assert database["password"] == {"env": "DAGSTER_POSTGRES_PASSWORD"}, "no secret is in a ConfigMap"


def test_dagster_finds_the_code_location_that_commands_are_recorded_for(dagster_release, tmp_path):
    path = tmp_path / "workspace.yaml"
    path.write_text(dagster_release.one("ConfigMap", "dagster")["data"]["workspace.yaml"])
    (origin,) = location_origins_from_yaml_paths([str(path)])
    assert origin.location_name == LOCATION
    assert any(arg == f"--module-name={MODULE}" for arg in _code_server(dagster_release)["args"])


def _code_server(release: Any) -> Any:
    (container,) = release.one("Deployment", "code-server")["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("name", ["gpu", "restricted"])
def test_commands_have_the_options_that_they_are_given(name, releases, tmp_path):
    from click import Command
    from dagster._cli import create_dagster_cli
    from dagster._daemon.cli import create_dagster_daemon_cli
    from dagster_webserver.cli import create_dagster_webserver_cli
    from typer.main import get_command

    from curate_cli.app import app

    tops: dict[str, Command] = {
        "dagster": create_dagster_cli(),
        "dagster-webserver": create_dagster_webserver_cli(),
        "dagster-daemon": create_dagster_daemon_cli(),
        "curate_assets.orchestration.daemon": create_dagster_daemon_cli(),
        "curate": get_command(app),
    }
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    seen = set()
    for _, pod in releases[name].pods():
        for container in pod["spec"]["containers"]:
            for words in (
                [*container.get("command", []), *container.get("args", [])],
                container.get("livenessProbe", {}).get("exec", {}).get("command", []),
            ):
                words = [each.replace("/etc/dagster", str(tmp_path)) for each in words]
                words = words[2:] if words[:2] == ["python", "-m"] else words
                if words[:2] == ["bash", "-c"]:
                    assert re.findall(r"curate doctor[^;]*", words[2]) == [
                        "curate doctor",
                        "curate doctor --deployment",
                    ]
                    words = ["curate", "doctor", "--deployment"]
                if words and words[0] in tops:
                    _parse(tops[words[0]], words[1:])
                    seen.add(words[0])
    assert seen == set(tops)


def _parse(command: Any, words: list[str]) -> None:
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("here", words, resilient_parsing=False).close()


class KubernetesRecorder:
    """Answers Dagster's launcher as an API server does, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: set[tuple[str, str, str]] = set()
        self.jobs: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
                    "clusters": [{"name": "here", "cluster": {"server": url}}],
                    "users": [{"name": "here", "user": {}}],
                }
            )
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> Any:
        found = re.fullmatch(r"/(?:api|apis/([^/]+))/v1/namespaces/curation/(\w+)(?:/([^/]+))?(?:/(\w+))?", path)
        assert found, path
        group, resource, name, below = found.groups()
        verbs = {"POST": "create", "DELETE": "delete", "GET": "get" if name else "list"}
        self.asked.add((group or "", "/".join(filter(None, (resource, below))), verbs[method]))
        if method == "POST":
            self.jobs.append(body)
        now = "2026-01-01T00:00:00Z"
        status = {"startTime": now, "active": 1}
        running = {"name": "dagster", "image": "", "imageID": "", "ready": True, "restartCount": 0}
        running["state"] = {"running": {"startedAt": now}}
        containers = [{"name": "dagster"}]
        items = {
            "jobs": [{"metadata": {"name": "job"}, "status": status}],
            "pods": [
                {
                    "metadata": {"name": "pod"},
                    "spec": {"containers": containers},
                    "status": {"containerStatuses": [running], "startTime": now, "phase": "Running"},
                }
            ],
        }
        if below == "log":
            return "a line"
        if method == "GET" and not name:
            return {"items": items.get(resource, [])}
        return body or {"metadata": {"name": name}, "status": status if resource == "jobs" else {}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                said = recorder.answer(self.command, urlsplit(self.path).path, body)
                content = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain" if isinstance(said, str) else "application/json")
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


@pytest.fixture
def recorder(tmp_path) -> Iterator[KubernetesRecorder]:
    server = KubernetesRecorder(tmp_path)
    yield server
    server.close()


@pytest.mark.parametrize("name", ["restricted", pytest.param("local", marks=pytest.mark.deep)])
def test_runs_are_launched_as_the_release_says_and_dagster_asks_what_its_role_allows(
    name, releases, recorder, unrestricted, rights, monkeypatch
):
    dagster_release = releases[name]
    monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", "secret")
    settings = dagster_release.file("dagster", "dagster.yaml")
    launcher_config = {**settings["run_launcher"]["config"], "load_incluster_config": False}
    launcher_config["kubeconfig_file"] = str(recorder.kubeconfig)
    server = _code_server(dagster_release)
    image = {each["name"]: each.get("value", "") for each in server["env"]}["DAGSTER_CONTAINER_IMAGE"]
    context = dagster_release.run_context
    K8sContainerContext.create_from_config(context)  # refuses unknown keys
    code = job_code("__ASSET_JOB")
    own = code.repository_origin
    code_server = RepositoryPythonOrigin(own.executable_path, own.code_pointer, image, own.entry_point, context)
    origin = JobPythonOrigin(code.job_name, code_server)
    overrides = {"run_launcher": {**settings["run_launcher"], "config": launcher_config}}
    with instance_for_test(overrides=overrides) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, K8sRunLauncher)
        run = create_run_for_test(
            instance, job_name="__ASSET_JOB", job_code_origin=origin, status=dg.DagsterRunStatus.STARTED
        )
        launcher.launch_run(LaunchRunContext(run, workspace=None))
        assert launcher.check_run_worker_health(run).status.value == "RUNNING"
        assert "a line" in (launcher.get_run_worker_debug_info(run) or "")
        assert launcher.terminate(run.run_id)
        monkeypatch.setattr(launcher._api_client, "get_pod_names_in_job", lambda *_, **__: [])
        launcher.get_run_worker_debug_info(run)  # of a run without a pod
    assert recorder.asked == rights(dagster_release.one("Role", "launcher"))

    (job,) = recorder.jobs
    kubernetes_validate.validate({"apiVersion": "batch/v1", "kind": "Job", **job}, "1.30", strict=True)
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600 and job["spec"]["activeDeadlineSeconds"] == 604800
    assert job["spec"]["backoffLimit"] == 0
    pod = job["spec"]["template"]
    local = dagster_release.values.get("ray", {}).get("mode") == "local"
    assert [each for each in unrestricted(pod["spec"]) if not (local and each == "volume models")] == []
    assert pod["spec"]["serviceAccountName"].endswith("-run")
    assert pod["spec"]["automountServiceAccountToken"] is not local
    labels = pod["metadata"]["labels"]
    assert labels["curate-graph/role"] == "run" and labels["curate-graph/release"] == "curate-graph"
    (container,) = pod["spec"]["containers"]
    assert ("worker" if local else "control") in container["image"] and container["image"] == image
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["CURATE_ROOT"] == dagster_release.values["root"] and "DAGSTER_POSTGRES_PASSWORD" in given
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    mounted = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
    assert {"/tmp", "/home/curate", "/etc/curate", "/srv/dagster", "/srv/dagster/dagster.yaml", "/models"} <= set(
        mounted
    )
    assert len(volumes) == len(pod["spec"]["volumes"]) and len(mounted) == len(container["volumeMounts"])
    assert (
        mounted["/etc/curate"]["configMap"]["name"] == dagster_release.one("ConfigMap", "settings")["metadata"]["name"]
    )


# Runs and their clusters


def test_the_settings_are_ones_that_the_project_accepts(release):
    settings = release.file("settings", "curate.yaml")
    config = validated(settings)
    StorageSettings.model_validate(release.file("settings", "storage.yaml"))
    if sources := release.file("settings", "sources.yaml"):
        Sources.model_validate(sources)
    if (cluster := release.ray_cluster) is None:
        assert config.cluster.mode == "local"
        return
    assert config.cluster.mode == "kuberay" and config.cluster.namespace == "curation" and config.engine.kind == "ray"
    groups = cluster["spec"]["workerGroupSpecs"]
    limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups]
    assert config.cluster.capacity_cpus == max(float(each["cpu"]) for each in limits)
    gpus = [float(value) for each in limits for key, value in each.items() if key.startswith("nvidia.com/")]
    assert config.cluster.capacity_gpus == max([0, *gpus])


# Other people's Dagster


def _names(release: Any) -> set[str]:
    return {each["metadata"]["name"] for each in release.objects}


def test_dagster_plus_names_what_the_release_has(releases, unrestricted, monkeypatch):
    (location,) = yaml.safe_load((ROOT / "dagster_cloud.yaml").read_text())["locations"]
    release = releases["dagster-plus"]
    assert not release.kinds("Deployment", "Service", "Job", "Pod"), "Dagster+ brings those"
    context = location["container_context"]["k8s"]
    monkeypatch.setenv("CURATE_ROOT", "s3://bucket/curate")
    run = K8sContainerContext.create_from_config(location["container_context"]).run_k8s_config
    assert context["service_account_name"] in _names(release)
    assert {each["config_map"]["name"] for each in context["volumes"] if "config_map" in each} <= _names(release)
    assert context["labels"] == {"curate-graph/release": "curate-graph", "curate-graph/role": "run"}
    assert location["image"] == "registry.example.org/video/curate-graph-control:0.1.0"
    mounts = {each["name"] for each in context["volume_mounts"]}
    assert mounts == {each["name"] for each in context["volumes"]}
    pod = run.pod_spec_config["security_context"]
    own = run.container_config["security_context"]
    assert pod["run_as_non_root"] is True and own["capabilities"]["drop"] == ["ALL"]
    assert _given(release, [each.partition("=")[::2] for each in context["env_vars"]])


def _given(release: Any, variables: list[Any]) -> bool:
    files = set(release.one("ConfigMap", "settings")["data"])
    named = {Path(value).name for _, value in variables if str(value).startswith("/etc/curate/")}
    return bool(named) and named <= files


CHART_KEYS = {
    "": "global generatePostgresqlPasswordSecret serviceAccount postgresql telemetry dagsterWebserver dagsterDaemon "
    "runLauncher dagster-user-deployments",
    "global": "postgresqlSecretName serviceAccountName dagsterHome celeryConfigSecretName",
    "postgresql": "enabled postgresqlHost postgresqlUsername postgresqlDatabase postgresqlScheme service",
    "dagsterWebserver": "image podSecurityContext securityContext env envSecrets resources replicaCount",
    "dagsterDaemon": "image podSecurityContext securityContext env envSecrets resources runMonitoring runRetries "
    "sensors schedules",
    "dagsterDaemon.runMonitoring": "enabled startTimeoutSeconds cancelTimeoutSeconds pollIntervalSeconds "
    "maxResumeRunAttempts freeSlotsAfterRunEndSeconds",
    "dagsterDaemon.runRetries": "enabled maxRetries retryOnAssetOrOpFailure",
    "runLauncher": "type config",
    "runLauncher.config.k8sRunLauncher": "imagePullPolicy jobNamespace envConfigMaps envSecrets envVars volumeMounts "
    "volumes labels resources schedulerName securityContext runK8sConfig failPodOnRunFailure",
    "dagster-user-deployments": "enabled enableSubchart imagePullSecrets deployments",
    "deployments": "name image dagsterApiGrpcArgs codeServerArgs includeConfigInLaunchedRuns port replicaCount env "
    "envConfigMaps envSecrets annotations nodeSelector affinity tolerations podSecurityContext securityContext "
    "resources labels livenessProbe readinessProbe startupProbe volumeMounts volumes schedulerName initContainers",
}
"""Keys of Dagster's chart, as read in its stored sources: the chart itself cannot be had here."""


def test_the_values_for_dagsters_chart_have_its_keys_and_name_what_the_release_has(releases, unrestricted):
    values = yaml.safe_load((ROOT / "helm" / "values-for-dagsters-chart.yaml").read_text())
    for place, keys in CHART_KEYS.items():
        within = values
        for key in place.split(".") if place not in ("", "deployments") else []:
            within = within[key]
        if place == "deployments":
            within = values["dagster-user-deployments"]["deployments"][0]
        assert set(within) <= set(keys.split()), place
    release = releases["beside-dagsters-chart"]
    (code,) = values["dagster-user-deployments"]["deployments"]
    assert values["global"]["serviceAccountName"] in _names(release)
    assert {each["configMap"]["name"] for each in code["volumes"] if "configMap" in each} <= _names(release)
    assert code["labels"] == {"curate-graph/release": "curate-graph", "curate-graph/role": "run"}
    assert values["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
    for each in (code, values["dagsterWebserver"], values["dagsterDaemon"]):
        container = {"name": "it", "securityContext": each["securityContext"]}
        assert not unrestricted({"securityContext": each["podSecurityContext"], "containers": [container]})
    assert _given(release, [(each["name"], each["value"]) for each in code["env"]])
    K8sContainerContext.create_from_config({"k8s": {"run_k8s_config": _snake(values)}})


def _snake(values: Any) -> Any:
    given = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    return {re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), key): value for key, value in given.items()}

"""A stand-in for a Kubernetes API server with KubeRay's RayJobs, over HTTP on loopback, and one for the operator."""

import json
import re
import subprocess
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import yaml

TOKEN = "a-token-of-a-service-account"
_START = datetime(2026, 1, 1, tzinfo=UTC)


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


_TEXT, _COUNT, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_LIST = {"type": "array"}
_ANY = {"type": "object"}
_AMOUNTS = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
_RESOURCES = _object(requests=_AMOUNTS, limits=_AMOUNTS)
_CONTEXT = _object(
    allowPrivilegeEscalation=_FLAG,
    capabilities=_object(add=_LIST, drop=_LIST),
    fsGroup=_COUNT,
    fsGroupChangePolicy=_TEXT,
    privileged=_FLAG,
    readOnlyRootFilesystem=_FLAG,
    runAsGroup=_COUNT,
    runAsNonRoot=_FLAG,
    runAsUser=_COUNT,
    seccompProfile=_object(type=_TEXT, localhostProfile=_TEXT),
    supplementalGroups=_LIST,
)
_CONTAINER = _object(
    "name",
    **dict.fromkeys("name image imagePullPolicy workingDir terminationMessagePolicy".split(), _TEXT),
    **dict.fromkeys("command args env envFrom ports volumeMounts".split(), _LIST),
    **dict.fromkeys("lifecycle livenessProbe readinessProbe startupProbe".split(), _ANY),
    resources=_RESOURCES,
    securityContext=_CONTEXT,
)
_POD = _object(
    "spec",
    metadata=_object(labels=_TEXTS, annotations=_TEXTS),
    spec=_object(
        "containers",
        containers={"type": "array", "minItems": 1, "items": _CONTAINER},
        initContainers={"type": "array", "items": _CONTAINER},
        **dict.fromkeys("affinity dnsConfig".split(), _ANY),
        **dict.fromkeys("hostAliases imagePullSecrets tolerations topologySpreadConstraints volumes".split(), _LIST),
        **dict.fromkeys(
            "dnsPolicy priorityClassName restartPolicy runtimeClassName schedulerName serviceAccountName".split(), _TEXT
        ),
        automountServiceAccountToken=_FLAG,
        enableServiceLinks=_FLAG,
        terminationGracePeriodSeconds=_COUNT,
        nodeSelector=_TEXTS,
        securityContext=_CONTEXT,
    ),
)
_GROUP = {
    "rayStartParams": _TEXTS,
    "labels": _TEXTS,
    "resources": _TEXTS,
    "template": _POD,
}
_CLUSTER = _object(
    "headGroupSpec",
    rayVersion=_TEXT,
    enableInTreeAutoscaling=_FLAG,
    autoscalerOptions=_object(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=_COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        image=_TEXT,
        imagePullPolicy=_TEXT,
        env=_LIST,
        envFrom=_LIST,
        volumeMounts=_LIST,
        resources=_RESOURCES,
        securityContext=_CONTEXT,
    ),
    authOptions=_object(mode={"enum": ["token", "disabled"]}, secretName=_TEXT, enableK8sTokenAuth=_FLAG),
    headGroupSpec=_object(
        "template", **_GROUP, serviceType=_TEXT, headService=_ANY, enableIngress=_FLAG, ingressOptions=_ANY
    ),
    headServiceAnnotations=_TEXTS,
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            "groupName template",
            **_GROUP,
            groupName=_TEXT,
            replicas=_COUNT,
            minReplicas=_COUNT,
            maxReplicas=_COUNT,
            numOfHosts=_COUNT,
            idleTimeoutSeconds=_COUNT,
            suspend=_FLAG,
        ),
    },
)
RAYJOB = _object(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    # KubeRay derives longer names from a RayJob's, so that is at most 47 characters.
    metadata=_object(
        "name",
        name={"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,45}[a-z0-9])?$"},
        namespace=_TEXT,
        labels=_TEXTS,
        annotations=_TEXTS,
    ),
    spec=_object(
        "entrypoint rayClusterSpec",
        entrypoint=_TEXT,
        shutdownAfterJobFinishes=_FLAG,
        ttlSecondsAfterFinished=_COUNT,
        preRunningDeadlineSeconds={"type": "integer", "minimum": 1},
        backoffLimit=_COUNT,
        suspend=_FLAG,
        submitterPodTemplate=_POD,
        rayClusterSpec=_CLUSTER,
    ),
)
"""The part of the RayJob's custom resource definition, KubeRay 1.7, that is in use here; the rest is unknown."""

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?"
)
_REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 422: "Invalid"}


class KubernetesApi:
    """One namespace. Started when it is made, ended by `close`.

    Attributes:
        jobs: the RayJobs, by name.
        pods: other pods than submitters.
        events: those of the namespace.
        secrets: names of secrets.
        logs: what submitter pods printed, by job, the newest last. The API lists the newest first.
        answers: statuses that the next requests are refused with; with headers, if it is a pair.
        refusal: what is said with them.
        log_seconds: how long it takes to give a log, as where the kubelet is away.
        away: whether it drops connections without a word, as while it is started anew.
        rights: what the account may do, as (group, resource, verb); None: everything.
        operators: images of the operators that are seen in all namespaces; None: they may not be seen.
        installed: whether the operator's custom resource definitions are there.
        requests: method and path of all requests.
        asked: the rights that a role must give for the requests so far, less what every account has.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self.namespace = namespace
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.secrets: list[str] = []
        self.logs: dict[str, list[bytes]] = {}
        self.answers: list[int | tuple[int, dict[str, str]]] = []
        self.refusal = "not now"
        self.log_seconds = 0.0
        self.away = False
        self.rights: set[tuple[str, str, str]] | None = None
        self.operators: list[str] | None = None
        self.installed = True
        self.requests: list[str] = []
        self.asked: set[tuple[str, str, str]] = set()
        self._version = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "run"}}],
                    "clusters": [
                        {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
                    ],
                    "users": [{"name": "run", "user": {"token": TOKEN}}],
                }
            )
        )

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def event(self, kind: str, name: str, reason: str, message: str, type: str = "Warning") -> None:
        """Something happens to an object."""
        self._version += 1
        self.events.append(
            {
                "metadata": {"uid": f"event-{self._version}", "name": f"{name}.{self._version:x}"},
                "involvedObject": {"kind": kind, "name": name, "namespace": self.namespace},
                "reason": reason,
                "message": message,
                "type": type,
                "lastTimestamp": (_START + timedelta(seconds=self._version)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    def answer(self, method: str, target: str, token: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of the answer to a request; a body of bytes is text, else it is JSON."""
        url = urlsplit(target)
        self.requests.append(f"{method} {url.path}")
        if self.answers:
            refused = self.answers.pop(0)
            status, headers = refused if isinstance(refused, tuple) else (refused, {})
            return status, _failure(status, self.refusal), headers
        if token != f"Bearer {TOKEN}":
            return 401, _failure(401, "Unauthorized"), {}
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, said = self._answered(method, url.path, query, body)
        return status, _failure(status, **said) if status >= 400 and isinstance(said, dict) else said, {}

    def _answered(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" and method == "POST":
            wanted = body["spec"]["resourceAttributes"]
            resource = "/".join(filter(None, (wanted["resource"], wanted.get("subresource"))))
            allowed = wanted["namespace"] == self.namespace and self._may(wanted["group"], resource, wanted["verb"])
            return 201, {**body, "status": {"allowed": allowed}}
        if path == "/version":
            return 200, {"gitVersion": "v1.36.2"}
        if path == "/apis/apps/v1/deployments":
            pods = [{"containers": [{"image": image}]} for image in self.operators or ()]
            items = [{"spec": {"template": {"spec": pod}}} for pod in pods]
            return (403, {"message": "forbidden"}) if self.operators is None else (200, {"items": items})
        if path == "/apis/ray.io/v1" and self.installed:
            return 200, {"kind": "APIResourceList", "resources": [{"name": "rayjobs"}, {"name": "rayclusters"}]}
        found = _PATH.fullmatch(path)
        if found is None or (found["group"] == "ray.io" and not self.installed):
            return 404, b"404 page not found\n"
        group, resource, name = found["group"] or "", found["resource"], found["name"]
        verb = {"POST": "create", "GET": "get" if name else "list", "DELETE": "delete"}[method]
        whole = f"{resource}/{found['sub']}" if found["sub"] else resource
        self.asked.add((group, whole, verb))
        if not self._may(group, whole, verb):
            what = f'{resource} "{name or ""}" is forbidden: User "run" cannot {verb} resource "{whole}"'
            return 403, {"message": f'{what} in API group "{group}" in the namespace "{found["namespace"]}"'}
        if found["namespace"] != self.namespace and verb == "create":
            return 404, {"message": f'namespaces "{found["namespace"]}" not found', "details": {"kind": "namespaces"}}
        if resource == "rayjobs":
            return self._create(body, query) if method == "POST" else self._existing(method, str(name))
        if resource == "pods" and found["sub"] == "log":
            return self._log(str(name), query)
        if resource == "pods":
            return 200, {"items": self._chosen_pods(query.get("labelSelector", ""))}
        if resource == "events":
            wanted = query.get("fieldSelector", "").removeprefix("involvedObject.name=")
            return 200, {"items": [each for each in self.events if each["involvedObject"]["name"] == wanted]}
        if resource == "secrets" and name in self.secrets:
            return 200, {"metadata": {"name": name}}
        return 404, {"message": f'{resource} "{name}" not found', "details": {"name": name, "kind": resource}}

    def _may(self, group: str, resource: str, verb: str) -> bool:
        return self.rights is None or (group, resource, verb) in self.rights

    def _create(self, body: Any, query: dict[str, str]) -> tuple[int, Any]:
        errors = sorted(jsonschema.Draft202012Validator(RAYJOB).iter_errors(body), key=lambda each: each.json_path)
        unknown = [error for error in errors if error.validator == "additionalProperties"]
        fields = [
            f'unknown field "{".".join([*map(str, error.path), key])}"'
            for error in unknown
            for key in error.instance
            if key not in error.schema["properties"]
        ]
        if fields and query.get("fieldValidation") == "Strict":
            said = f"strict decoding error: {', '.join(fields)}"
            return 400, {"message": f'RayJob in version "v1" cannot be handled as a RayJob: {said}'}
        if wrong := [error for error in errors if error not in unknown]:
            text = "; ".join(f"{each.json_path.removeprefix('$.')}: {each.message}" for each in wrong)
            return 422, {"message": f'RayJob.ray.io "{body["metadata"].get("name")}" is invalid: {text}'}
        for error in unknown:  # as the real one does, without a word
            for key in set(error.instance) - set(error.schema["properties"]):
                del error.instance[key]
        name = body["metadata"]["name"]
        if name in self.jobs:
            return 409, {"message": f'rayjobs.ray.io "{name}" already exists', "reason": "AlreadyExists"}
        if query.get("dryRun") != "All":
            self._version += 1
            body["metadata"] |= {"uid": f"rayjob-{self._version}", "resourceVersion": str(self._version)}
            self.jobs[name] = body
        return 201, body

    def _existing(self, method: str, name: str) -> tuple[int, Any]:
        job = self.jobs.get(name)
        if job is None:
            about = {"name": name, "group": "ray.io", "kind": "rayjobs"}
            return 404, {"message": f'rayjobs.ray.io "{name}" not found', "details": about}
        if method == "DELETE" and job["metadata"].get("finalizers"):
            job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        elif method == "DELETE":
            del self.jobs[name]
        return 200, job

    def _log(self, pod: str, query: dict[str, str]) -> tuple[int, Any]:
        assert query["container"] == "ray-job-submitter"
        time.sleep(self.log_seconds)
        job, number = pod.rsplit("-", 1)
        return 200, self.logs[job][int(number)]

    def _chosen_pods(self, selector: str) -> list[dict[str, Any]]:
        name, _, value = selector.partition("=")
        if name == "job-name":
            return [
                {"metadata": {"name": f"{value}-{n}", "creationTimestamp": (_START + timedelta(minutes=n)).isoformat()}}
                for n in reversed(range(len(self.logs.get(value, []))))
            ]
        return [pod for pod in self.pods if pod["metadata"]["labels"].get(name) == value]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                if api.away:
                    self.close_connection = True
                    return
                status, said, headers = api.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(said, bytes) else "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


def _failure(status: int, message: str, reason: str = "", details: Any = None) -> dict[str, Any]:
    """A `Status`, which a Kubernetes API server answers instead of what it refuses."""
    said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}
    return {**said, "reason": reason or _REASONS.get(status, "InternalError"), "details": details or {}}


def violates_restricted(pod: dict[str, Any]) -> str | None:
    """What the Pod Security Standard *restricted* refuses a pod for; None if it does not."""
    spec = pod["spec"]
    outer = spec.get("securityContext", {})
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        own = container.get("securityContext", {})
        name = container["name"]
        if own.get("allowPrivilegeEscalation") is not False:
            return f'allowPrivilegeEscalation != false (container "{name}" must set it to false)'
        if "ALL" not in own.get("capabilities", {}).get("drop", []):
            return f'unrestricted capabilities (container "{name}" must set securityContext.capabilities.drop=["ALL"])'
        if not own.get("runAsNonRoot", outer.get("runAsNonRoot")):
            return f'runAsNonRoot != true (pod or container "{name}" must set securityContext.runAsNonRoot=true)'
        if "type" not in own.get("seccompProfile", outer.get("seccompProfile", {})):
            return f'seccompProfile (pod or container "{name}" must set securityContext.seccompProfile.type)'
    return None


class Operator:
    """Runs the entrypoint of every RayJob as a process of this machine, through bash as KubeRay's submitter does.

    A context: left, it ends what still runs.

    Attributes:
        restricted: whether the namespace admits only pods that the Pod Security Standard *restricted* allows.
        at_work: False while it is started anew: jobs go on, and nobody notes anything of them.
    """

    def __init__(self, api: KubernetesApi, folder: Path) -> None:
        self._api, self._folder = api, folder
        self.restricted, self.at_work = False, True
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._over, self._looking = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Operator":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for process in self._running.values():
            process.kill()
            process.wait()

    def lose_head(self, name: str) -> None:
        """The head of a job's cluster dies, and its driver with it; the submitter has another head run it again."""
        with self._looking:  # nobody sees the driver dead before it runs again
            process = self._running[name]
            process.kill()
            process.wait()
            self._run(name, self._api.jobs[name])

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            with self._looking:
                for name, job in list(self._api.jobs.items()) if self.at_work else ():
                    if job["spec"].get("suspend"):
                        self._suspend(name, job)
                    elif name not in self._running:
                        self._start(name, job)
                    else:
                        self._look_after(name, job)

    def _start(self, name: str, job: dict[str, Any]) -> None:
        if "deletionTimestamp" in job["metadata"]:
            del self._api.jobs[name]
            return
        job["metadata"]["finalizers"] = ["ray.io/rayjob-finalizer"]
        refused = self._refused(name, job)
        job["status"] = {"rayClusterName": f"{name}-abcde", "jobDeploymentStatus": refused or "Running"}
        if refused is None:
            self._run(name, job)
            job["status"]["jobStatus"] = "RUNNING"

    def _refused(self, name: str, job: dict[str, Any]) -> str | None:
        """The deployment's status where a pod is not let in; the events are those that the real ones leave."""
        spec, said = job["spec"], 'is forbidden: violates PodSecurity "restricted:latest": '
        if not self.restricted:
            return None
        if why := violates_restricted(spec["rayClusterSpec"]["headGroupSpec"]["template"]):
            text = f'Failed to create head Pod curation/: pods "{name}-abcde-head-x" {said}{why}'
            self._note("RayCluster", f"{name}-abcde", "FailedToCreateHeadPod", text)
            return "Initializing"
        bare = {"spec": {"containers": [{"name": "ray-job-submitter"}]}}  # the operator's own has no contexts
        if why := violates_restricted(spec.get("submitterPodTemplate", bare)):
            self._note("Job", name, "FailedCreate", f'Error creating: pods "{name}-x" {said}{why}')
            return "Running"
        return None

    def _note(self, kind: str, name: str, reason: str, message: str) -> None:
        if not any(each["message"] == message for each in self._api.events):
            self._api.event(kind, name, reason, message)

    def _run(self, name: str, job: dict[str, Any]) -> None:
        with (self._folder / f"{name}.log").open("wb") as output:
            self._running[name] = subprocess.Popen(
                ["bash", "-c", f"exec {job['spec']['entrypoint']}"], stdout=output, stderr=subprocess.STDOUT
            )

    def _suspend(self, name: str, job: dict[str, Any]) -> None:
        if (process := self._running.pop(name, None)) is not None:
            process.kill()
            process.wait()
        job["status"] = {"jobDeploymentStatus": "Suspended"}

    def _look_after(self, name: str, job: dict[str, Any]) -> None:
        process = self._running[name]
        if "deletionTimestamp" in job["metadata"]:
            process.terminate()
            process.wait()
            with suppress(KeyError):
                del self._api.jobs[name]
            return
        self._api.logs[name] = [(self._folder / f"{name}.log").read_bytes()]
        code = process.poll()
        if code is not None:
            job["status"] = (
                {"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Complete"}
                if code == 0
                else {"jobStatus": "FAILED", "jobDeploymentStatus": "Failed", "message": f"exit code {code}"}
            )

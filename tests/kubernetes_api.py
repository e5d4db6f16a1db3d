"""A stand-in for a Kubernetes API server with KubeRay's RayJobs, over HTTP on loopback, and one for the operator."""

import json
import re
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema
import yaml

TOKEN = "a-token-of-a-service-account"


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


_TEXT, _COUNT, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_POD = _object("spec", metadata={"type": "object"}, spec={"type": "object", "required": ["containers"]})
_CLUSTER = _object(
    "headGroupSpec",
    rayVersion=_TEXT,
    enableInTreeAutoscaling=_FLAG,
    autoscalerOptions=_object(version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=_COUNT, upscalingMode=_TEXT),
    authOptions=_object(mode={"enum": ["token", "disabled"]}, secretName=_TEXT),
    headGroupSpec=_object("template", rayStartParams=_TEXTS, template=_POD),
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            "groupName template",
            groupName=_TEXT,
            replicas=_COUNT,
            minReplicas=_COUNT,
            maxReplicas=_COUNT,
            rayStartParams=_TEXTS,
            labels=_TEXTS,
            template=_POD,
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
    ),
    spec=_object(
        "entrypoint rayClusterSpec",
        entrypoint=_TEXT,
        shutdownAfterJobFinishes=_FLAG,
        ttlSecondsAfterFinished=_COUNT,
        backoffLimit=_COUNT,
        rayClusterSpec=_CLUSTER,
    ),
)
"""The part of the RayJob's custom resource definition, KubeRay 1.7, that is in use here; the rest is refused."""


class KubernetesApi:
    """One namespace. Started when it is made, ended by `close`.

    Attributes:
        jobs: the RayJobs, by name.
        logs: what submitter pods printed, by job, the newest last. The API lists the newest first.
        answers: statuses that the next requests are refused with.
        requests: method and path of all requests.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self.namespace = namespace
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[bytes]] = {}
        self.answers: list[int] = []
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
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

    def permissions(self) -> set[tuple[str, str]]:
        """Verbs and resources that a role must allow for the requests so far."""
        verbs = {"POST": "create", "GET": "get", "DELETE": "delete"}
        needed: set[tuple[str, str]] = set()
        for request in self.requests:
            method, path = request.split(" ")
            resource, *named = path.split(f"/namespaces/{self.namespace}/")[1].split("/")
            verb = "list" if method == "GET" and not named else verbs[method]
            needed.add((verb, "/".join([resource, *named[1:]])))
        return needed

    def answer(self, method: str, target: str, token: str, body: Any) -> tuple[int, Any]:
        """Status and body of the answer to a request; a body of bytes is text, else it is JSON."""
        url = urlsplit(target)
        self.requests.append(f"{method} {url.path}")
        if self.answers:
            return self.answers.pop(0), {"message": "not now"}
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if found := re.fullmatch(rf"/apis/ray\.io/v1/namespaces/{self.namespace}/rayjobs(?:/([^/]+))?", url.path):
            return self._create(body) if method == "POST" else self._existing(method, found[1])
        if url.path == f"/api/v1/namespaces/{self.namespace}/pods":
            return 200, {"items": self._pods(parse_qs(url.query)["labelSelector"][0].removeprefix("job-name="))}
        if found := re.fullmatch(rf"/api/v1/namespaces/{self.namespace}/pods/(.+)-(\d+)/log", url.path):
            assert parse_qs(url.query)["container"] == ["ray-job-submitter"]
            return 200, self.logs[found[1]][int(found[2])]
        return 404, {"message": "the server could not find the requested resource"}

    def _create(self, body: Any) -> tuple[int, Any]:
        try:
            jsonschema.validate(body, RAYJOB)
        except jsonschema.ValidationError as error:
            return 422, {"message": f"RayJob is invalid: {error.json_path}: {error.message}"}
        name = body["metadata"]["name"]
        if name in self.jobs:
            return 409, {"message": f'rayjobs.ray.io "{name}" already exists'}
        self.jobs[name] = body
        return 201, body

    def _existing(self, method: str, name: str) -> tuple[int, Any]:
        job = self.jobs.get(name)
        if job is None:
            return 404, {"message": f'rayjobs.ray.io "{name}" not found'}
        if method == "DELETE" and job["metadata"].get("finalizers"):
            job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        elif method == "DELETE":
            del self.jobs[name]
        return 200, job

    def _pods(self, job: str) -> list[dict[str, Any]]:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            {"metadata": {"name": f"{job}-{n}", "creationTimestamp": (start + timedelta(minutes=n)).isoformat()}}
            for n in reversed(range(len(self.logs.get(job, []))))
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, said = api.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                content = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(said, bytes) else "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


class Operator:
    """Runs the entrypoint of every RayJob as a process of this machine, through bash as KubeRay's submitter does.

    A context: left, it ends what still runs.
    """

    def __init__(self, api: KubernetesApi, folder: Path) -> None:
        self._api, self._folder = api, folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()
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

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for name, job in list(self._api.jobs.items()):
                if name not in self._running:
                    self._start(name, job)
                else:
                    self._look_after(name, job)

    def _start(self, name: str, job: dict[str, Any]) -> None:
        job["metadata"]["finalizers"] = ["ray.io/rayjob-finalizer"]
        with (self._folder / f"{name}.log").open("wb") as output:
            self._running[name] = subprocess.Popen(
                ["bash", "-c", f"exec {job['spec']['entrypoint']}"], stdout=output, stderr=subprocess.STDOUT
            )
        job["status"] = {"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}

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

"""Jobs on Kubernetes, each a RayJob of the KubeRay operator with a cluster of its own that ends with it.

Not run on a real Kubernetes yet: exercised over HTTP against a stand-in of its API server.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from curate_resources.engines.patience import ClusterUnreachable, answered
from curate_resources.launchers.jobs import JobState
from gpu_kernels.errors import UserError

_GROUP, _VERSION, _PLURAL = "ray.io", "v1", "rayjobs"
_SUBMITTER = "ray-job-submitter"
"""The container, made by the operator, that submits a job and prints what it prints."""
_Answer = TypeVar("_Answer")


class ClusterTemplateError(UserError):
    """A file that describes no RayCluster."""


def cluster_spec(path: str) -> dict[str, Any]:
    """The `spec` of a RayCluster from a YAML file, a whole RayCluster or its spec alone.

    Raises:
        ClusterTemplateError: it is neither.
    """
    try:
        found = yaml.safe_load(Path(path).read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ClusterTemplateError(f"cluster.kuberay_template: {path} cannot be read: {error}") from error
    spec = found.get("spec", found) if isinstance(found, dict) else None
    if not isinstance(spec, dict) or "headGroupSpec" not in spec:
        raise ClusterTemplateError(f"cluster.kuberay_template: {path} has no headGroupSpec, so it is not a RayCluster")
    return spec


@dataclass(frozen=True)
class KubeRayJobs:
    """A Kubernetes namespace in which RayJobs may be made.

    The API server is that of `KUBECONFIG`, else that of the pod this runs in, else that of `~/.kube/config`.

    Attributes:
        cluster: the RayCluster's spec: image, head and worker groups.
        keep_seconds: how long the cluster of a job stays after its end, to be looked at. The RayJob and its log stay.
        retries: how often a request is tried again, more and more slowly: eight times are over a minute.
        answer_seconds: how long an answer is waited for, with all that.
    """

    namespace: str
    cluster: dict[str, Any] = field(default_factory=dict)
    keep_seconds: int = 300
    retries: int = 8
    answer_seconds: float = 120.0

    def manifest(self, job: str, command: str) -> dict[str, Any]:
        """The RayJob of a job."""
        return {
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "kind": "RayJob",
            "metadata": {
                "name": job,
                "namespace": self.namespace,
                "labels": {"app.kubernetes.io/managed-by": "curate-graph"},
            },
            "spec": {
                "entrypoint": command,
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": self.keep_seconds,
                "backoffLimit": 0,  # who follows the job decides whether it runs again
                "rayClusterSpec": self.cluster,
            },
        }

    def submit(self, job: str, command: str) -> None:
        """Start a job; one that is there already is left alone.

        Raises:
            ClusterUnreachable: the API server does not answer, or refuses.
        """
        self._rayjobs("create", self.manifest(job, command), passing=409)

    def state(self, job: str) -> JobState | None:
        """A job's status; None if it is not known.

        Raises:
            ClusterUnreachable: the API server does not answer, or refuses.
        """
        found = self._rayjobs("get", job, passing=404)
        return None if found is None else _state(found)

    def log(self, job: str) -> str:
        """What the job's submitter has printed so far; empty where that cannot be had now."""
        from kubernetes.client import ApiException, CoreV1Api
        from urllib3.exceptions import HTTPError

        def read() -> str:
            core: Any = CoreV1Api(self._client)
            pods = core.list_namespaced_pod(self.namespace, label_selector=f"job-name={job}").items
            if not pods:
                return ""
            newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp)  # a submitter may be tried again
            # Not decoded by the client, whose version 36 gives the text of a bytes literal.
            answer = core.read_namespaced_pod_log(
                newest.metadata.name, self.namespace, container=_SUBMITTER, _preload_content=False
            )
            return answer.data.decode(errors="replace")

        try:
            return self._answer(read)
        except (ApiException, HTTPError, ClusterUnreachable):
            return ""

    def stop(self, job: str) -> None:
        """End a job, and its cluster with it.

        Raises:
            ClusterUnreachable: the API server does not answer, or refuses.
        """
        self._rayjobs("delete", job, passing=404)

    def _rayjobs(self, verb: str, *arguments: Any, passing: int) -> Any:
        """One request about RayJobs; None where the answer is the status `passing`."""
        from kubernetes.client import ApiException, CustomObjectsApi
        from urllib3.exceptions import HTTPError

        def ask() -> Any:
            request = getattr(CustomObjectsApi(self._client), f"{verb}_namespaced_custom_object")
            return request(_GROUP, _VERSION, self.namespace, _PLURAL, *arguments)

        try:
            return self._answer(ask)
        except ApiException as error:
            if error.status == passing:
                return None
            raise ClusterUnreachable(
                f"Kubernetes refuses to {verb} a RayJob in namespace {self.namespace}: {_reason(error)}; "
                "is the KubeRay operator installed, and may this account do that?"
            ) from error
        except HTTPError as error:
            raise ClusterUnreachable(
                f"no Kubernetes API server answers at {self._client.configuration.host}: {error}"
            ) from error

    def _answer(self, ask: Callable[[], _Answer]) -> _Answer:
        # An API server that takes a connection and says nothing is waited for without end by its client.
        return answered("the Kubernetes API server", ask, self.answer_seconds, "see `kubectl cluster-info`")

    @cached_property
    def _client(self) -> Any:
        # Made once: credentials may come from a program that is run for every new client.
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from urllib3 import Retry

        configuration: Any = Configuration()
        try:
            if "KUBECONFIG" in os.environ or "KUBERNETES_SERVICE_HOST" not in os.environ:
                config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
            else:
                config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException as error:
            raise ClusterUnreachable(f"cluster.mode: kuberay finds no Kubernetes: {error}") from error
        # Every request may be repeated, also to create: the name is the job's. To give up would be to end the job.
        configuration.retries = Retry(
            self.retries,
            backoff_factor=0.5,
            backoff_max=20,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        return ApiClient(configuration)


def _state(rayjob: Mapping[str, Any]) -> JobState:
    status = rayjob.get("status") or {}
    job, deployment = status.get("jobStatus"), status.get("jobDeploymentStatus")
    message = status.get("message") or status.get("reason") or ""
    if job == "SUCCEEDED":
        return JobState("succeeded", message)
    if job == "STOPPED":
        return JobState("stopped", message)
    # A deployment also fails before there is a job: its cluster is refused, or never becomes ready.
    if deployment in ("Failed", "ValidationFailed") or (job == "FAILED" and deployment != "Retrying"):
        return JobState("failed", message)
    if "deletionTimestamp" in rayjob["metadata"]:  # the operator holds it until its Ray job has ended
        return JobState("stopped", "it is being deleted")
    begun = job is not None and job != "PENDING"
    waits_for = "" if begun else message or f"its cluster is not ready ({deployment or 'the operator has not seen it'})"
    return JobState("running", message, waits_for)


def _reason(error: Any) -> str:
    """What the API server says of a request that it refuses."""
    try:
        return json.loads(error.body)["message"]
    except (ValueError, TypeError, KeyError):
        return f"{error.status} {error.reason}"

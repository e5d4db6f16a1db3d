"""Jobs on Kubernetes, each a RayJob of the KubeRay operator with a cluster of its own that ends with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curate_resources.engines.patience import ClusterUnreachable
from curate_resources.launchers.jobs import ClusterRefuses, JobState
from curate_resources.launchers.kubernetes_server import KubernetesConflict, KubernetesRefuses, KubernetesServer
from curate_resources.launchers.rayjob import (
    JOB_LABEL,
    SUBMITTER,
    ClusterTemplate,
    labelled_cluster,
    submitter_template,
)
from curate_resources.launchers.surroundings import Surroundings, surroundings, waits

RIGHTS = (
    ("ray.io", "rayjobs", "create"),
    ("ray.io", "rayjobs", "get"),
    ("ray.io", "rayjobs", "delete"),
    ("", "pods", "list"),
    ("", "pods/log", "get"),
    ("", "events", "list"),
)
"""All that runs ask Kubernetes for in their namespace: group, resource and verb."""

_RAYJOBS = "/apis/ray.io/v1/namespaces/{}/rayjobs"
_STOP_SECONDS = 20.0
"""A pod that is told to end has half a minute as a rule."""
_PODS_LOOKED_INTO = 8
_NO_OPERATOR = "it has not taken the RayJob up: does it run, and does it watch this namespace?"
_WAITING_FOR_GOOD = ("PreRunningDeadlineExceeded", "ValidationFailed", "DeadlineExceeded")
"""Reasons of the operator that a RayJob with the same template would meet again."""


@dataclass(frozen=True)
class KubeRayJobs:
    """A Kubernetes namespace in which RayJobs may be made.

    Attributes:
        template: the RayCluster: image, head and worker groups.
        labels, annotations: of RayJobs, besides those of the template.
        keep_seconds: how long the cluster of a job stays after its end, to be looked at. The RayJob and its log stay.
        start_seconds: after how long a RayJob whose cluster is not ready has failed; None: never.
        server: the API server, and how patiently it is asked.
    """

    namespace: str
    template: ClusterTemplate
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    keep_seconds: int = 300
    start_seconds: float | None = None
    server: KubernetesServer = field(default_factory=KubernetesServer)

    def manifest(self, job: str, command: str) -> dict[str, Any]:
        """The RayJob of a job."""
        labels = {**self.template.labels, **self.labels, "app.kubernetes.io/managed-by": "curate-graph"}
        annotations = {**self.template.annotations, **self.annotations}
        deadline = {} if self.start_seconds is None else {"preRunningDeadlineSeconds": max(1, int(self.start_seconds))}
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": {
                "name": job,
                "namespace": self.namespace,
                "labels": labels,
                **({"annotations": annotations} if annotations else {}),
            },
            "spec": {
                "entrypoint": command,
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": self.keep_seconds,
                "backoffLimit": 0,  # who follows the job decides whether it runs again
                **deadline,
                "submitterPodTemplate": submitter_template(self.template.spec, job),
                "rayClusterSpec": labelled_cluster(self.template.spec, job),
            },
        }

    def submit(self, job: str, command: str) -> None:
        """Start a job; one that is there already is left alone.

        Raises:
            ClusterRefuses: the API server refuses it for good, as it does a template with an unknown or wrong key.
            ClusterUnreachable: the API server does not answer.
        """
        self._create(self.manifest(job, command), [])

    def try_out(self, job: str) -> None:
        """Have a RayJob looked at by the API server as if it were to be made; none is.

        Raises:
            ClusterRefuses, ClusterUnreachable: as for `submit`.
        """
        self._create(self.manifest(job, "true"), [("dryRun", "All")])

    def state(self, job: str) -> JobState | None:
        """A job's status; None if it is not known.

        Raises:
            ClusterRefuses, ClusterUnreachable: as for `submit`.
        """
        found = self._rayjob(job)
        return None if found is None else _state(found)

    def log(self, job: str) -> str:
        """What the job's submitter has printed so far; empty where that cannot be had at once."""
        try:
            pods = self._listed("pods", f"job-name={job}", "labelSelector")
            if not pods:
                return ""
            newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])  # it may be tried again
            path = f"/api/v1/namespaces/{self.namespace}/pods/{newest['metadata']['name']}/log"
            return self.server.ask("GET", path, [("container", SUBMITTER)], briefly=True).decode(errors="replace")
        except ClusterUnreachable:
            return ""

    def surroundings(self, job: str) -> Surroundings | None:
        """What is said of a job's pods, and what keeps them from starting; None where that cannot be had at once."""
        try:
            rayjob = json.loads(self.server.ask("GET", self._path(job), briefly=True))
            pods = self._listed("pods", f"{JOB_LABEL}={job}", "labelSelector")
        except ClusterUnreachable:
            return None
        status = rayjob.get("status") or {}
        waiting = [pod["metadata"]["name"] for pod in pods if waits(pod)][:_PODS_LOOKED_INTO]
        names = [job, *([status["rayClusterName"]] if status.get("rayClusterName") else []), *waiting]
        try:
            events = [
                each
                for name in names
                for each in self._listed("events", f"involvedObject.name={name}", "fieldSelector")
            ]
        except ClusterRefuses as error:
            about = (
                f"why pods of namespace {self.namespace} wait cannot be read: {error}; this account may not list events"
            )
            return replace(surroundings(pods, None), events={"no events": about})
        except ClusterUnreachable:
            return None
        found = surroundings(pods, events)
        if not status.get("jobDeploymentStatus"):
            found = replace(found, stuck={**found.stuck, "the KubeRay operator": _NO_OPERATOR})
        return found

    def stop(self, job: str) -> None:
        """End a job, and its cluster with it.

        Raises:
            ClusterRefuses, ClusterUnreachable: as for `submit`.
        """
        patience = replace(self.server, answer_seconds=min(_STOP_SECONDS, self.server.answer_seconds))
        try:
            patience.ask("DELETE", self._path(job))
        except KubernetesRefuses as error:
            if not _unknown(error):
                raise self._told("delete", error) from error

    def _create(self, manifest: Mapping[str, Any], how: Sequence[tuple[str, str]]) -> None:
        query = [("fieldValidation", "Strict"), *how]  # else a key that is misspelt is dropped without a word
        try:
            self.server.ask("POST", self._path(), query, manifest)
        except KubernetesConflict as error:
            if error.said.get("reason") != "AlreadyExists":
                raise
        except KubernetesRefuses as error:
            raise self._told("create", error) from error

    def _rayjob(self, job: str) -> dict[str, Any] | None:
        try:
            return json.loads(self.server.ask("GET", self._path(job)))
        except KubernetesRefuses as error:
            if _unknown(error):
                return None
            raise self._told("get", error) from error

    def _listed(self, resource: str, selector: str, by: str) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{self.namespace}/{resource}"
        return json.loads(self.server.ask("GET", path, [(by, selector)], briefly=True)).get("items") or []

    def _path(self, job: str = "") -> str:
        return _RAYJOBS.format(self.namespace) + (f"/{job}" if job else "")

    def _told(self, verb: str, error: KubernetesRefuses) -> ClusterRefuses:
        if "preRunningDeadlineSeconds" in str(error):
            remedy = "KubeRay is older than 1.6: upgrade its operator and its CRDs, or set cluster.start_minutes: null"
        else:
            remedy = {
                400: "correct cluster.kuberay_template",
                401: "renew this account's credentials (KUBECONFIG)",
                403: "may this account do that? `curate doctor --deployment` lists what it may",
                404: "is the KubeRay operator installed, and is this the namespace (cluster.namespace)?",
                422: "correct cluster.kuberay_template",
            }.get(error.status, "see `curate doctor --deployment`")
        return ClusterRefuses(f"Kubernetes refuses to {verb} a RayJob in namespace {self.namespace}: {error}; {remedy}")


def _unknown(error: KubernetesRefuses) -> bool:
    """Whether there is no such RayJob, rather than no RayJobs at all."""
    return error.status == 404 and (error.said.get("details") or {}).get("kind") == "rayjobs"


def _state(rayjob: Mapping[str, Any]) -> JobState:
    status = rayjob.get("status") or {}
    job, deployment = status.get("jobStatus") or "", status.get("jobDeploymentStatus")
    message = ": ".join(filter(None, dict.fromkeys((status.get("reason"), status.get("message")))))
    if job == "SUCCEEDED":
        return JobState("succeeded", message)
    held = bool(rayjob["spec"].get("suspend")) and deployment not in ("Complete", "Failed", "ValidationFailed")
    if "deletionTimestamp" in rayjob["metadata"]:  # the operator holds it until its Ray job has ended
        return JobState("stopped", message if job == "STOPPED" else "it is being deleted")
    if held or deployment in ("Suspending", "Suspended"):
        queue = rayjob["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
        whose = f"Kueue's queue {queue} has not admitted it" if queue else "somebody has set spec.suspend"
        return JobState("running", message, f"it is suspended: {whose}", held=True)
    if job == "STOPPED":
        return JobState("stopped", message)
    # A deployment also fails before there is a job: its cluster is refused, or never becomes ready.
    if deployment in ("Failed", "ValidationFailed") or (job == "FAILED" and deployment != "Retrying"):
        final = deployment == "ValidationFailed" or status.get("reason") in _WAITING_FOR_GOOD
        return JobState("failed", message, passes=not final)
    begun = job not in ("", "PENDING")
    why = {"": "the operator has not seen it", "Running": "its submitter has not begun"}.get(deployment or "", "")
    waits_for = "" if begun else message or why or f"its cluster is not ready ({deployment})"
    return JobState("running", message, waits_for)

"""Jobs on Kubernetes, each a RayJob of the KubeRay operator with a cluster of its own that ends with it.

Not run on a real Kubernetes yet: exercised against an emulated API server.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from curate_resources.jobs import JobState

_GROUP, _VERSION, _PLURAL = "ray.io", "v1", "rayjobs"


class ClusterTemplateError(Exception):
    """A file that describes no RayCluster."""


def cluster_spec(path: str) -> dict[str, Any]:
    """The `spec` of a RayCluster from a YAML file, a whole RayCluster or its spec alone.

    Raises:
        ClusterTemplateError: it is neither.
    """
    try:
        found = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ClusterTemplateError(f"cluster.kuberay_template: {path} cannot be read: {error}") from error
    spec = found.get("spec", found) if isinstance(found, dict) else None
    if not isinstance(spec, dict) or "headGroupSpec" not in spec:
        raise ClusterTemplateError(f"cluster.kuberay_template: {path} has no headGroupSpec, so it is no RayCluster")
    return spec


@dataclass(frozen=True)
class KubeRayJobs:
    """A Kubernetes namespace in which RayJobs may be made.

    Attributes:
        cluster: the RayCluster's spec: image, head and worker groups.
        keep_seconds: how long a job and its cluster stay after its end, to be looked at.
    """

    namespace: str
    cluster: dict[str, Any] = field(default_factory=dict)
    keep_seconds: int = 300

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
        """Start a job; one that is there already is left alone."""
        from kubernetes.client import ApiException

        try:
            self._objects().create_namespaced_custom_object(
                _GROUP, _VERSION, self.namespace, _PLURAL, self.manifest(job, command)
            )
        except ApiException as error:
            if error.status != 409:
                raise

    def state(self, job: str) -> JobState | None:
        """How a job fares; None if it is not known."""
        from kubernetes.client import ApiException

        try:
            found: Any = self._objects().get_namespaced_custom_object(_GROUP, _VERSION, self.namespace, _PLURAL, job)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        status = found.get("status", {})
        message = status.get("message") or status.get("reason") or ""
        if status.get("jobStatus") == "SUCCEEDED":
            return JobState("succeeded", message)
        if status.get("jobStatus") == "STOPPED":
            return JobState("stopped", message)
        # The deployment also fails before there is a job, for instance when its cluster never becomes ready.
        if "FAILED" in (status.get("jobStatus"), str(status.get("jobDeploymentStatus")).upper()):
            return JobState("failed", message)
        return JobState("running", message)

    def log(self, job: str) -> str:
        """What the job's submitter has printed so far; empty where that cannot be had now."""
        from kubernetes.client import ApiException, CoreV1Api

        core: Any = CoreV1Api(self._objects().api_client)
        try:
            pods = core.list_namespaced_pod(self.namespace, label_selector=f"job-name={job}").items
            return core.read_namespaced_pod_log(pods[-1].metadata.name, self.namespace) if pods else ""
        except ApiException:
            return ""

    def stop(self, job: str) -> None:
        """End a job, and its cluster with it."""
        from kubernetes.client import ApiException

        try:
            self._objects().delete_namespaced_custom_object(_GROUP, _VERSION, self.namespace, _PLURAL, job)
        except ApiException as error:
            if error.status != 404:
                raise

    def _objects(self) -> Any:
        from kubernetes import config
        from kubernetes.client import CustomObjectsApi

        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
        return CustomObjectsApi()

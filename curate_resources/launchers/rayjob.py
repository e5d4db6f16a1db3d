"""The RayJob of a job: the cluster of the template, and a submitter that is let in wherever the head is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gpu_kernels.errors import UserError

SUBMITTER = "ray-job-submitter"
"""The container, as the operator knows it, that submits a job and prints what it prints."""
JOB_LABEL = "curate-graph/job"
"""The label of all pods of a job, with its name."""

_AS_THE_HEAD = (
    "affinity dnsConfig dnsPolicy hostAliases imagePullSecrets nodeSelector priorityClassName runtimeClassName "
    "schedulerName securityContext serviceAccountName tolerations"
).split()
"""What a submitter has of the head's pod: where it may run, and as whom."""
_OF_ITS_CONTAINER = "image imagePullPolicy securityContext".split()
_FOR_THE_CLIENT = ("RAY_AUTH_", "RAY_TLS_", "RAY_USE_TLS", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HOME", "TMPDIR")
"""Beginnings of the variables of the head that a client of its job server may need."""
_LITTLE = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


class ClusterTemplateError(UserError):
    """A file that describes no RayCluster."""


@dataclass(frozen=True)
class ClusterTemplate:
    """A RayCluster: its spec, and the labels and annotations of its metadata, which go onto the RayJob."""

    spec: dict[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def cluster_template(path: str) -> ClusterTemplate:
    """The RayCluster of a YAML file, a whole one or its spec alone.

    Raises:
        ClusterTemplateError: it is neither.
    """
    setting = f"cluster.kuberay_template: {path}"
    try:
        found = yaml.safe_load(Path(path).read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ClusterTemplateError(f"{setting} cannot be read: {error}") from error
    spec = found.get("spec", found) if isinstance(found, dict) else None
    if not isinstance(spec, dict) or "headGroupSpec" not in spec:
        raise ClusterTemplateError(f"{setting} has no headGroupSpec, so it is not a RayCluster")
    for where, template in _pod_templates(spec):
        pod = template.get("spec") if isinstance(template, dict) else None
        containers = pod.get("containers") if isinstance(pod, dict) else None
        if not isinstance(containers, list) or not containers or not isinstance(containers[0], dict):
            raise ClusterTemplateError(f"{setting}: {where}.template.spec.containers has no container")
    metadata = found.get("metadata") or {}
    return ClusterTemplate(spec, metadata.get("labels") or {}, metadata.get("annotations") or {})


def _pod_templates(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Of the head and of each group of workers, and where they stand."""
    groups = [("headGroupSpec", spec["headGroupSpec"])]
    groups += [(f"workerGroupSpecs[{n}]", group) for n, group in enumerate(spec.get("workerGroupSpecs") or [])]
    for where, group in groups:
        yield where, group.get("template") if isinstance(group, dict) else None


def labelled_cluster(spec: Mapping[str, Any], job: str) -> dict[str, Any]:
    """A cluster whose pods have the job's label."""

    def labelled(group: Mapping[str, Any]) -> dict[str, Any]:
        metadata = group["template"].get("metadata") or {}
        labels = {**(metadata.get("labels") or {}), JOB_LABEL: job}
        return {**group, "template": {**group["template"], "metadata": {**metadata, "labels": labels}}}

    cluster = {**spec, "headGroupSpec": labelled(spec["headGroupSpec"])}
    if "workerGroupSpecs" in spec:
        cluster["workerGroupSpecs"] = [labelled(group) for group in spec["workerGroupSpecs"] or []]
    return cluster


def submitter_template(spec: Mapping[str, Any], job: str) -> dict[str, Any]:
    """The pod that submits the job. The operator's own has none of what a namespace may demand (contexts, quotas,
    pull secrets, tolerations), so it is made from the head's, without its size and its devices."""
    head: dict[str, Any] = spec["headGroupSpec"]["template"]
    pod, metadata = head["spec"], head.get("metadata") or {}
    container = pod["containers"][0]
    variables = [each for each in container.get("env") or [] if str(each.get("name")).startswith(_FOR_THE_CLIENT)]
    mounts, volumes = _needed_files(pod, container, [str(each.get("value", "")) for each in variables])
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if not name.startswith("ray.io/")}
    made: dict[str, Any] = {
        "metadata": {"labels": {**labels, JOB_LABEL: job}},
        "spec": {
            **{key: pod[key] for key in _AS_THE_HEAD if key in pod},
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": SUBMITTER,
                    **{key: container[key] for key in _OF_ITS_CONTAINER if key in container},
                    "resources": _LITTLE,
                    **({"env": variables} if variables else {}),
                    **({"volumeMounts": mounts} if mounts else {}),
                }
            ],
            **({"volumes": volumes} if volumes else {}),
        },
    }
    if metadata.get("annotations"):
        made["metadata"]["annotations"] = metadata["annotations"]
    return made


def _needed_files(
    pod: Mapping[str, Any], container: Mapping[str, Any], paths: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Mounts and volumes of the head that its clients need as well: writable folders, for a root file system that is
    not, and what `paths` lie in. Not its shared memory."""
    volumes = {each["name"]: each for each in pod.get("volumes") or []}
    mounts: list[dict[str, Any]] = []
    for mount in container.get("volumeMounts") or []:
        volume = volumes.get(mount["name"], {})
        folder = str(mount["mountPath"]).rstrip("/")
        writable = "emptyDir" in volume and (volume["emptyDir"] or {}).get("medium") != "Memory"
        if writable or any(path == folder or path.startswith(f"{folder}/") for path in paths):
            mounts.append(mount)
    names = dict.fromkeys(mount["name"] for mount in mounts)
    return mounts, [volumes[name] for name in names if name in volumes]

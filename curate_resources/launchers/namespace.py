"""What a Kubernetes namespace has for the jobs of a template: looked up without changing anything."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curate_resources.launchers.kubernetes_server import KubernetesRefuses, KubernetesServer
from curate_resources.launchers.rayjob import ClusterTemplate

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NAME_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""An object without what is in it."""
_OPERATOR = "app.kubernetes.io/name=kuberay-operator"


@dataclass(frozen=True)
class Namespace:
    """One namespace, as this account sees it. Everything here raises ClusterUnreachable, or ClusterRefuses, where the
    API server does not answer or lets nothing be asked."""

    name: str
    server: KubernetesServer

    def version(self) -> str:
        """Of Kubernetes."""
        return json.loads(self.server.ask("GET", "/version"))["gitVersion"]

    def knows_rayjobs(self) -> bool:
        """Whether the custom resource definitions of KubeRay are installed."""
        try:
            found = json.loads(self.server.ask("GET", "/apis/ray.io/v1"))
        except KubernetesRefuses as error:
            if error.status == 404:
                return False
            raise
        return {"rayjobs", "rayclusters"} <= {each["name"] for each in found["resources"]}

    def operator_images(self) -> list[str] | None:
        """Images of the KubeRay operators of all namespaces; None if this account may not know."""
        try:
            found = json.loads(
                self.server.ask("GET", "/apis/apps/v1/deployments", [("labelSelector", _OPERATOR)], briefly=True)
            )
        except KubernetesRefuses:
            return None
        pods = [each["spec"]["template"]["spec"] for each in found["items"]]
        return sorted({container["image"] for pod in pods for container in pod["containers"]})

    def may(self, group: str, resource: str, verb: str) -> bool:
        """Whether this account has a right here."""
        kind, _, part = resource.partition("/")
        wanted = {"namespace": self.name, "group": group, "resource": kind, "subresource": part, "verb": verb}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted},
        }
        return bool(json.loads(self.server.ask("POST", _REVIEWS, body=review))["status"]["allowed"])

    def has_secret(self, name: str) -> bool:
        """Whether there is one of that name; what is in it is not sent."""
        try:
            self.server.ask("GET", f"/api/v1/namespaces/{self.name}/secrets/{name}", accept=_NAME_ONLY)
        except KubernetesRefuses as error:
            if error.status == 404:
                return False
            raise
        return True


def secrets(template: ClusterTemplate) -> list[str]:
    """Names of the secrets that the pods of a template cannot do without."""
    names = {each for _, pod in pods(template) for each in _secrets(pod)}
    auth = template.spec.get("authOptions") or {}
    return sorted(names | ({auth["secretName"]} if auth.get("secretName") else set()))


def pods(template: ClusterTemplate) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The head's pod, and that of each group of workers, by its name."""
    yield "head", template.spec["headGroupSpec"]["template"]["spec"]
    for group in template.spec.get("workerGroupSpecs") or []:
        yield str(group.get("groupName", "?")), group["template"]["spec"]


def _secrets(pod: Mapping[str, Any]) -> Iterator[str]:
    wanted: list[tuple[Mapping[str, Any], str]] = [(each, "name") for each in pod.get("imagePullSecrets") or ()]
    wanted += [(each.get("secret") or {}, "secretName") for each in pod.get("volumes") or ()]
    for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
        wanted += [(each.get("secretRef") or {}, "name") for each in container.get("envFrom") or ()]
        values = [each.get("valueFrom") or {} for each in container.get("env") or ()]
        wanted += [(each.get("secretKeyRef") or {}, "name") for each in values]
    yield from (each[key] for each, key in wanted if key in each and not each.get("optional"))

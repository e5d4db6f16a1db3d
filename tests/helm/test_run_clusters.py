"""What runs ask of Kubernetes, and the clusters that they have made: the chart, the code and the page agree."""

import re
from pathlib import Path

import pytest
import yaml

from curate_resources.launchers.kuberay import RIGHTS, KubeRayJobs
from curate_resources.launchers.rayjob import cluster_template

DOCS = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"


def test_kuberay_is_given_a_cluster_that_it_knows(release, kubernetes, unrestricted, tmp_path):
    cluster = release.ray_cluster
    if cluster is None:
        pytest.skip("with these values runs compute in their own pods, and there is no cluster to describe")
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(cluster))
    template = cluster_template(str(path))
    server = KubeRayJobs("curation", template)
    server.submit("curate-0123456789abcdef-0001", "true")  # the stand-in refuses what KubeRay's schema does not have
    job = kubernetes.jobs["curate-0123456789abcdef-0001"]
    queue = release.values.get("ray", {}).get("queue")
    assert job["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "curate-graph", "old ones are found by it"
    assert job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") == queue
    spec = job["spec"]["rayClusterSpec"]
    submitter = job["spec"]["submitterPodTemplate"]
    assert not unrestricted(submitter["spec"])
    (container,) = submitter["spec"]["containers"]
    assert {"/tmp", "/home/curate"} <= {each["mountPath"] for each in container["volumeMounts"]}
    labels = {"curate-graph/release": "curate-graph", "curate-graph/role": "ray"}
    assert labels.items() <= submitter["metadata"]["labels"].items(), "network policies count it as one of Ray's pods"
    assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert spec["enableInTreeAutoscaling"] is (queue is None), "Kueue refuses clusters that scale"
    for group in spec["workerGroupSpecs"]:
        fewest = 0 if queue is None else group["maxReplicas"]
        assert group["minReplicas"] == group["replicas"] == fewest <= group["maxReplicas"]
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        (extended,) = [key for key in container["resources"]["limits"] if "/" in key] or [None]
        tolerated = [each["key"] for each in group["template"]["spec"].get("tolerations", [])]
        assert extended is None or extended in tolerated
    if queue is None:
        assert spec["autoscalerOptions"]["securityContext"]["readOnlyRootFilesystem"] is True


def test_runs_may_do_what_they_ask_for_and_nothing_else(release, rights):
    roles = [each for each in release.kinds("Role") if each["metadata"]["name"].endswith("-run")]
    if release.ray_cluster is None:
        assert not roles
        return
    assert rights(roles[0]) == set(RIGHTS)
    (binding,) = (each for each in release.kinds("RoleBinding") if each["roleRef"]["name"].endswith("-run"))
    assert [each["name"].endswith("-run") for each in binding["subjects"]] == [True]


def test_documented_rights_and_values_are_those_of_the_chart(render, rights):
    blocks = [yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```$", DOCS.read_text(), re.M | re.S)]
    (role,) = (each for each in blocks if each.get("kind") == "Role")
    assert rights(role) == set(RIGHTS)
    least = {"root": "s3://bucket/curate", "images": {"registry": "registry.example.org"}}
    least["database"] = {"host": "postgres", "secretName": "curate-database"}
    of_chart = [each for each in blocks if "root" in each]
    assert len(of_chart) > 5
    for values in of_chart:
        assert render({**least, **values}).objects

"""The Ray cluster that runs would use: whether it answers. None is started."""

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok
from curate_assets.doctor.child import ChildFailed, child_says
from curate_assets.graph.platform import ClusterConfig
from curate_assets.orchestration.engines import kuberay_jobs
from curate_resources.engines.warm_cluster import warm_cluster
from curate_resources.launchers.ray_jobs import RayJobServer

_NO_JOB = "curate-doctor"
"""A job that never was: asking for it needs the address, the right to ask, and an answer."""


def cluster(deployment: Deployment) -> Finding:
    """What `cluster.mode` names."""
    settings = deployment.config.cluster
    if settings.mode == "local":
        return _warm()
    if settings.mode == "cluster":
        RayJobServer(settings.address, settings.token_path).state(_NO_JOB)
        return ok(f"the job server at {settings.address} answers")
    return _kuberay(settings)


def _warm() -> Finding:
    warm = warm_cluster()
    if warm is None:
        return ok("no warm cluster: a run that needs Ray starts its own, `curate up` one for all")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": warm.token_path}
    try:
        child_says("-m", "ray.scripts.scripts", "status", "--address", warm.address, seconds=30, environment=token)
    except ChildFailed as error:
        return failed(f"the warm cluster at {warm.address} does not answer: {error}", "`curate down`, then `curate up`")
    return ok(f"the warm cluster at {warm.address} answers")


def _kuberay(settings: ClusterConfig) -> Finding:
    server = kuberay_jobs(settings, retries=1)
    server.state(_NO_JOB)
    server.try_out(_NO_JOB)
    return ok(f"the API server would make RayJobs of the template in namespace {settings.namespace}")


CHECKS = (
    Check(
        "Ray",
        cluster,
        "check cluster.address, cluster.token_path or KUBECONFIG, and that the cluster runs",
        needs=("configuration",),
    ),
)

"""The namespace that `mode: kuberay` runs in (`--deployment`), and what a pod there finds (`--probe`)."""

import json
import platform
import secrets as random
import shlex
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from packaging.version import InvalidVersion, Version

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.graph.platform import ClusterConfig
from curate_assets.orchestration.engines import kuberay_jobs, patience_of
from curate_resources.engines.patience import NoPlace
from curate_resources.launchers.beginning import Beginning
from curate_resources.launchers.kuberay import RIGHTS, KubeRayJobs
from curate_resources.launchers.namespace import Namespace, pods, secrets
from curate_resources.launchers.rayjob import ClusterTemplate

PROBED = "curate doctor"
"""The key of a line of the probe's log that is a finding."""
_ROLE = "bind the role of `curate docs kubernetes` to this account; the chart does so for the pods of runs"
_KUBERAY = "install KubeRay's operator with its custom resource definitions, 1.7 or later"
_LEAST, _WITHOUT_WGET = Version("1.7"), Version("2.53")
_PROBE_SECONDS, _POLL_SECONDS, _LOG_ATTEMPTS = 3600.0, 2.0, 5
_PARTS = ("in the head: versions", "in the head: storage", "a worker from zero", "a GPU from zero")


def api_server(deployment: Deployment) -> Finding:
    """It answers."""
    settings = deployment.config.cluster
    if settings.mode != "kuberay":
        return failed(
            f"cluster.mode is {settings.mode}: no namespace is looked at",
            "set cluster.mode: kuberay, cluster.namespace and cluster.kuberay_template",
        )
    server = _jobs(deployment).server
    return ok(f"Kubernetes {_namespace(deployment).version()} at {server.host}, namespace {settings.namespace}")


def operator(deployment: Deployment) -> Finding:
    """KubeRay's resources are there, and its operator is not too old."""
    namespace = _namespace(deployment)
    if not namespace.knows_rayjobs():
        return failed("the API server knows no RayJobs", _KUBERAY)
    images = namespace.operator_images()
    if images is None:
        return ok("RayJobs are known; this account may not see which version the operator is: --probe tells")
    if not images:
        return warning(
            "RayJobs are known, but no operator carries KubeRay's usual labels", f"see that it runs, or {_KUBERAY}"
        )
    old = [image for image in images if _older(image.rpartition(":")[2].removeprefix("v"), _LEAST)]
    if old:
        return warning(
            f"the operator is {', '.join(old)}", "upgrade its custom resource definitions, then the operator"
        )
    return ok(f"RayJobs are known; the operator is {', '.join(images)}")


def rights(deployment: Deployment) -> Finding:
    """This account may do what runs do. Asked of the API server; nothing is tried."""
    namespace = _namespace(deployment)
    missing = [f"{verb} {resource}" for group, resource, verb in RIGHTS if not namespace.may(group, resource, verb)]
    if missing:
        return failed(f"this account may not {', '.join(missing)} in namespace {namespace.name}", _ROLE)
    return ok(f"this account has all {len(RIGHTS)} rights of a run")


def template(deployment: Deployment) -> Finding:
    """The API server would make the RayJob, by the schema that it has; it makes none."""
    server = _jobs(deployment)
    server.try_out(_name())
    groups = [name for name, _ in pods(server.template)]
    return ok(f"accepted, with {', '.join(groups)}")


def versions(deployment: Deployment) -> Finding:
    """The pods' images and Ray, against each other and this machine's."""
    of = _jobs(deployment).template
    images = {name: str(pod["containers"][0].get("image", "?")) for name, pod in pods(of)}
    wanted = of.spec.get("rayVersion")
    if wanted is None:
        return warning("the template has no rayVersion", "add it: KubeRay then needs no wget in the image to probe Ray")
    if _older(str(wanted), _WITHOUT_WGET):
        return warning(f"Ray {wanted}: KubeRay needs wget in the image to probe it", "use Ray 2.53 or later")
    here = _installed("ray")
    if here is not None and here != str(wanted):
        return warning(f"rayVersion is {wanted}, this machine has Ray {here}", "use one version of Ray everywhere")
    shown = ", ".join(f"{image} ({', '.join(n for n in images if images[n] == image)})" for image in {*images.values()})
    if len({*images.values()}) > 1:
        return ok(f"Ray {wanted}; several images, which --probe tells more of: {shown}")
    return ok(f"Ray {wanted}{'' if here else ', which this machine does not have'}; {shown}")


def secret_names(deployment: Deployment) -> Finding:
    """The secrets that the template names exist. What is in them is never asked for."""
    namespace, names = _namespace(deployment), secrets(_jobs(deployment).template)
    if not names:
        return ok("the template names none")
    if not namespace.may("", "secrets", "get"):
        return ok(
            f"not looked up, because this account may not, as is right: {', '.join(names)}; a pod says in --probe"
        )
    missing = [name for name in names if not namespace.has_secret(name)]
    if missing:
        made = f"`kubectl -n {namespace.name} create secret generic {missing[0]} ...`"
        return failed(f"there is no secret {', '.join(missing)} in namespace {namespace.name}", f"make it: {made}")
    return ok(f"there are {', '.join(names)}")


def probe(deployment: Deployment) -> Finding:
    """A RayJob of the template starts and ends."""
    began = time.monotonic()
    found = _probed(deployment)
    if not found:
        return failed(
            "the RayJob ended, and no line of it was heard", "see the log of its submitter; may this account read it?"
        )
    return ok(f"a RayJob of the template has run, {time.monotonic() - began:.0f} s in all")


def _part(name: str) -> Check:
    def examine(deployment: Deployment) -> Finding:
        found = _probed(deployment).get(name)
        return found or failed(
            "the probe did not come to this", "see the lines above, and the log of the RayJob's submitter"
        )

    return Check(name, examine, "see the log of the RayJob's submitter", needs=("probe",))


@cache
def _probed(deployment: Deployment) -> dict[str, Finding]:
    """What a RayJob of the template says of where it is, by part; it is deleted afterwards."""
    settings = deployment.config.cluster
    server, job = _jobs(deployment), _name()
    there = {"gpus": _has_gpus(server.template), "seconds": settings.start_seconds or _PROBE_SECONDS}
    here = {"python": platform.python_version(), "ray": _installed("ray"), "curate-graph": _installed("curate-graph")}
    arguments = [deployment.storage.root, json.dumps({**there, "here": here})]
    server.submit(job, shlex.join([settings.python, "-m", "curate_assets.doctor.probe", *arguments]))
    try:
        _await(server, job, settings)
        for attempt in range(_LOG_ATTEMPTS):  # its last lines may be on their way
            found = _findings(server.log(job))
            if len(found) == len(_PARTS) or attempt == _LOG_ATTEMPTS - 1:
                return found
            time.sleep(_POLL_SECONDS)
        return {}
    finally:
        server.stop(job)


def _await(server: KubeRayJobs, job: str, settings: ClusterConfig) -> None:
    """Wait for the end of a job; raises NoPlace where it does not begin."""
    beginning = Beginning(job, patience_of(settings))
    while (state := server.state(job)) is not None and state.phase == "running":
        if state.waits_for:
            beginning.wait(state.waits_for, state.held)
        if not state.held and (found := server.surroundings(job)) is not None:
            beginning.look_around(found)
        time.sleep(_POLL_SECONDS)
    if state is not None and state.phase != "succeeded" and not server.log(job):
        raise NoPlace(f"the RayJob {state.phase} before it said anything: {state.message}")


def _findings(log: str) -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for line in log.splitlines():
        try:
            said = json.loads(line)[PROBED]
            found[said["part"]] = Finding(said["status"], said["found"], said["remedy"])
        except (ValueError, TypeError, KeyError):
            continue
    return found


def _jobs(deployment: Deployment) -> KubeRayJobs:
    return kuberay_jobs(deployment.config.cluster, retries=1)


def _namespace(deployment: Deployment) -> Namespace:
    return Namespace(deployment.config.cluster.namespace, _jobs(deployment).server)


def _name() -> str:
    return f"curate-doctor-{random.token_hex(4)}"


def _has_gpus(of: ClusterTemplate) -> bool:
    limits = [pod["containers"][0].get("resources", {}).get("limits") or {} for name, pod in pods(of) if name != "head"]
    return any(name.endswith("/gpu") for each in limits for name in each)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _older(found: str, least: Version) -> bool:
    try:
        return Version(found) < least
    except InvalidVersion:
        return False


_FILES = "check cluster.kuberay_template and KUBECONFIG"
CHECKS = (
    Check("Kubernetes", api_server, _FILES, needs=("configuration",)),
    Check("KubeRay", operator, _KUBERAY, needs=("Kubernetes",)),
    Check("rights", rights, _ROLE, needs=("Kubernetes",)),
    Check("template", template, _FILES, needs=("KubeRay", "rights")),
    Check("versions", versions, _FILES, needs=("Kubernetes",)),
    Check("secrets", secret_names, _FILES, needs=("Kubernetes",)),
)
"""Of `--deployment`."""
PROBES = (
    Check(
        "probe",
        probe,
        "see the reason; `kubectl describe` has more",
        needs=("template", "rights"),
        seconds=3 * _PROBE_SECONDS,
    ),
    *(_part(name) for name in _PARTS),
)
"""Of `--probe`, which makes a RayJob."""

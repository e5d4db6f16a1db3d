"""`python -m curate_assets.doctor.probe ROOT WHAT`: the driver of the RayJob of `curate doctor --probe`.

It says, in lines of JSON, what it finds where it runs: in the head, and in workers that it has started for it.
"""

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from curate_assets.doctor import root, settings
from curate_assets.doctor.check import Deployment, Finding, examined, failed, ok, warning
from curate_assets.doctor.namespace import PROBED
from curate_resources.storage.root import Storage

_IMAGE = "use one image for all pods, made from the same version as the run's"
_MOUNT = "use a bucket, or mount the root's volume in all pods of the template at the same path"
_MACHINES = (
    "see the events of its pods: `kubectl describe`; has the group room in this cluster, and its machines a device?"
)


def versions(here: Mapping[str, str | None]) -> Finding:
    """Those of this pod, against those of the machine that asks."""
    there = _versions()
    operator = dict(
        each.split("=", 1) for each in os.environ.get("RAY_USAGE_STATS_EXTRA_TAGS", "").split(";") if "=" in each
    )
    shown = ", ".join(f"{name} {found}" for name, found in there.items())
    shown += f"; KubeRay {operator['kuberay_version']}" if "kuberay_version" in operator else ""
    minor = {name: (found or "").split(".")[:2] if name == "python" else found for name, found in there.items()}
    other = [
        f"{name} {wanted}"
        for name, wanted in here.items()
        if wanted is not None and (wanted.split(".")[:2] if name == "python" else wanted) != minor.get(name)
    ]
    return warning(f"{shown}; the machine that asks has {', '.join(other)}", _IMAGE) if other else ok(shown)


def storage(where: str) -> Finding:
    """Whether the root can be read and written from here: the first thing that is wrong, or all that is right."""
    lines = list(examined((settings.STORAGE, *root.CHECKS), Deployment(Storage(where))))
    for line in lines:
        if line.finding.status == "failed":
            return Finding("failed", f"{line.name}: {line.finding.found}", line.finding.remedy)
        if line.name == "root" and line.finding.status == "warning":  # another folder of that name, inside the pod
            return failed(line.finding.found, _MOUNT)
    return ok("; ".join(f"{line.name}: {line.finding.found}" for line in lines[1:]))


def from_zero(ray: Any, where: str, seconds: float, **needs: float) -> Finding:
    """A task that needs a worker, which may have to be started for it, and what it finds there."""
    before, began = _workers(ray), time.monotonic()
    task = ray.remote(**needs, max_retries=0)(_seen).remote(where)
    try:
        found = ray.get(task, timeout=seconds)
    except ray.exceptions.GetTimeoutError:
        asked = ", ".join(f"{name}={amount:g}" for name, amount in needs.items())
        return failed(f"no worker with {asked} came within {seconds / 60:.0f} minutes", _MACHINES)
    took = f"{time.monotonic() - began:.0f} s, with {before} workers before; {found['versions']}"
    if found["status"] == "failed":
        return failed(f"{took}; storage: {found['found']}", found["remedy"])
    if found["versions"] != _shown():
        return warning(f"{took}; the head has {_shown()}", _IMAGE)
    return ok(f"{took}{found['devices']}; storage can be written to")


def _seen(where: str) -> dict[str, str]:
    """What a worker finds."""
    found = storage(where)
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = f"; CUDA_VISIBLE_DEVICES={devices}" if devices else ""
    return {
        "versions": _shown(),
        "devices": shown,
        "status": found.status,
        "found": found.found,
        "remedy": found.remedy,
    }


def _workers(ray: Any) -> int:
    return sum(node["Alive"] and "node:__internal_head__" not in node["Resources"] for node in ray.nodes())


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("ray", "curate-graph"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _shown() -> str:
    return ", ".join(f"{name} {found}" for name, found in _versions().items())


def _say(part: str, finding: Finding) -> None:
    said = {"part": part, "status": finding.status, "found": finding.found, "remedy": finding.remedy}
    print(json.dumps({PROBED: said}), flush=True)


def main(where: str, what: Mapping[str, Any]) -> None:
    """Go through all parts, and say each as soon as it is known."""
    _say("in the head: versions", versions(what["here"]))
    _say("in the head: storage", storage(where))
    import ray

    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    _say("a worker from zero", from_zero(ray, where, what["seconds"], num_cpus=1))
    if what["gpus"]:
        gpu = from_zero(ray, where, what["seconds"], num_cpus=1, num_gpus=1)
    else:
        gpu = ok("no group of workers has GPUs")
    _say("a GPU from zero", gpu)


if __name__ == "__main__":
    from curate_assets.doctor import probe  # so that workers find its functions by name

    probe.main(sys.argv[1], json.loads(sys.argv[2]))

"""This Python: its version, the packages that the project asks for, the native libraries, and the GPU."""

import json
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.resources import files

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.doctor.child import ChildFailed, child_says
from curate_assets.graph.platform import ConfigError

_PACKAGE = "curate-graph"
_SHOWN = ("dagster", "ray", "pylance", "pyarrow", "torch", "av")
_INSTALL = "install the package again with its dependencies"
_CONTROL = "stages cannot run here: set cluster.mode to kuberay, or use the image `worker`, which has all of it"

_LIBRARIES = {"PyAV": "av", "decord": "decord", "OpenCV": "cv2"}
_DECODERS = {"H.264": ("h264",), "HEVC": ("hevc",), "VP9": ("vp9",), "AV1": ("libdav1d", "libaom-av1", "libgav1")}
_IMPORT_SECONDS = 40

_CODECS = "import av, json; print(json.dumps(sorted(av.codec.codecs_available)))"
_TORCH = """
import json, torch
gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
print(json.dumps([torch.__version__, [torch.cuda.get_device_name(gpu) for gpu in gpus]]))
"""


@cache
def worker_only() -> frozenset[str]:
    """The packages that only workers import: `worker_only.txt`, by which the image `control` is built."""
    lines = files("curate_assets.doctor").joinpath("worker_only.txt").read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def packages(deployment: Deployment) -> Finding:
    """Python and every package that the project requires, as its own metadata says."""
    python = platform.python_version()
    try:
        asked = metadata(_PACKAGE)["Requires-Python"] or ""
        required = [Requirement(each) for each in requires(_PACKAGE) or ()]
    except PackageNotFoundError:
        return warning(f"Python {python}; {_PACKAGE} is not installed, so nothing says what it needs", _INSTALL)
    wrong = [] if SpecifierSet(asked).contains(python) else [f"Python {python} (needs {asked})"]
    wanted = [each for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    without = [each.name for each in wanted if left_to_workers(each.name, deployment)]
    missing = {each.name for each in wanted if absent(each.name)} - {*without}
    for each in wanted:
        if each.name in missing:
            wrong.append(f"{each.name} is missing (needs {each.specifier})")
        elif each.name not in without and not each.specifier.contains(version(each.name), prereleases=True):
            wrong.append(f"{each.name} {version(each.name)} (needs {each.specifier})")
    if wrong:
        return failed(", ".join(wrong), _CONTROL if missing and missing <= worker_only() else _INSTALL)
    shown = ", ".join(f"{name} {version(name)}" for name in _SHOWN if not absent(name))
    rest = f"; only workers need {', '.join(without)}" if without else ""
    return ok(f"Python {python}; {shown}; all {len(wanted) - len(without)} packages are as required{rest}")


def absent(package: str) -> bool:
    """Whether a package is not installed."""
    try:
        version(package)
    except PackageNotFoundError:
        return True
    return False


def left_to_workers(package: str, deployment: Deployment) -> bool:
    """Whether a package is not installed, and need not be: stages run in pods of a cluster, which have it."""
    return package in worker_only() and absent(package) and _stages_run_in_pods(deployment)


def _stages_run_in_pods(deployment: Deployment) -> bool:
    try:
        return deployment.config.cluster.mode == "kuberay"
    except ConfigError:  # which is a line of its own
        return False


def media_libraries(deployment: Deployment) -> Finding:
    """PyAV, decord and OpenCV can be imported, and PyAV decodes what sources are usually coded in."""
    versions: list[str] = []
    for name, module in _LIBRARIES.items():
        if left_to_workers(module, deployment):
            continue
        try:
            said = child_says("-c", f"import {module}; print({module}.__version__)", seconds=_IMPORT_SECONDS)
        except ChildFailed as error:
            return failed(f"{name} cannot be imported: {error}", _INSTALL)
        versions.append(f"{name} {said}")
    if left_to_workers("av", deployment):
        return ok(f"{', '.join(versions)}; decoders are in the pods of the cluster")
    codecs = set(json.loads(child_says("-c", _CODECS, seconds=_IMPORT_SECONDS)))
    lacking = [name for name, decoders in _DECODERS.items() if not codecs.intersection(decoders)]
    if lacking:
        return warning(
            f"PyAV has no decoder for {', '.join(lacking)}: such videos become failed rows",
            "install PyAV from its wheel, or build it against an FFmpeg that has them",
        )
    return ok(f"{', '.join(versions)}; decoders for {', '.join(_DECODERS)}")


def gpu(deployment: Deployment) -> Finding:
    """What torch sees; no GPU is a failure only where a setting asks for one."""
    if left_to_workers("torch", deployment):
        return ok("torch is not installed here: models run in the pods of the cluster")
    torch, names = json.loads(child_says("-c", _TORCH, seconds=90))
    if names:
        return ok(f"torch {torch} sees {', '.join(names)}")
    config = deployment.config
    asking = [f"{name}.device" for name, section in config if getattr(section, "device", None) == "cuda"]
    if asking and config.cluster.mode == "local":
        return failed(
            f"{', '.join(asking)} is cuda, and torch {torch} sees no GPU",
            "set it to auto, or install the driver and a torch that is built for it",
        )
    return ok(f"torch {torch} sees no GPU; models run on the CPU")


CHECKS = (
    Check("packages", packages, _INSTALL),
    Check("media libraries", media_libraries, _INSTALL, seconds=180),
    Check("GPU", gpu, _INSTALL, needs=("configuration",), seconds=100),
)

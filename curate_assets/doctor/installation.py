"""This Python: its version, the packages that the project asks for, the native libraries, and the GPU."""

import json
import platform
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.doctor.child import ChildFailed, child_says

_PACKAGE = "curate-graph"
_SHOWN = ("dagster", "ray", "pylance", "pyarrow", "torch", "av")
_INSTALL = "install the package again with its dependencies"

_LIBRARIES = {"PyAV": "av", "decord": "decord", "OpenCV": "cv2"}
_DECODERS = {"H.264": ("h264",), "HEVC": ("hevc",), "VP9": ("vp9",), "AV1": ("libdav1d", "libaom-av1", "libgav1")}
_IMPORT_SECONDS = 40

_CODECS = "import av, json; print(json.dumps(sorted(av.codec.codecs_available)))"
_TORCH = """
import json, torch
gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
print(json.dumps([torch.__version__, [torch.cuda.get_device_name(gpu) for gpu in gpus]]))
"""


def packages(_: Deployment) -> Finding:
    """Python and every package that the project requires, as its own metadata says."""
    python = platform.python_version()
    try:
        asked = metadata(_PACKAGE)["Requires-Python"] or ""
        required = [Requirement(each) for each in requires(_PACKAGE) or ()]
    except PackageNotFoundError:
        return warning(f"Python {python}; {_PACKAGE} is not installed, so nothing says what it needs", _INSTALL)
    wrong = [] if SpecifierSet(asked).contains(python) else [f"Python {python} (needs {asked})"]
    wanted = [each for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    for each in wanted:
        try:
            if not each.specifier.contains(version(each.name), prereleases=True):
                wrong.append(f"{each.name} {version(each.name)} (needs {each.specifier})")
        except PackageNotFoundError:
            wrong.append(f"{each.name} is missing (needs {each.specifier})")
    if wrong:
        return failed(", ".join(wrong), _INSTALL)
    shown = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    return ok(f"Python {python}; {shown}; all {len(wanted)} packages are as required")


def media_libraries(_: Deployment) -> Finding:
    """PyAV, decord and OpenCV can be imported, and PyAV decodes what sources are usually coded in."""
    versions: list[str] = []
    for name, module in _LIBRARIES.items():
        try:
            said = child_says("-c", f"import {module}; print({module}.__version__)", seconds=_IMPORT_SECONDS)
        except ChildFailed as error:
            return failed(f"{name} cannot be imported: {error}", _INSTALL)
        versions.append(f"{name} {said}")
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

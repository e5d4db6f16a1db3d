"""From the name of an asset one finds its module, its kernels, its tests and its docs; of every graph that is here."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from curate_assets.graph.graph import Asset, Graph
from curate_assets.video import VIDEO

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
ASSETS = REPOSITORY / "curate_assets" / "video" / "assets"
NO_KERNELS = {
    "gpu_kernels.backends",
    "gpu_kernels.errors",
    "gpu_kernels.sandbox",
    "gpu_kernels.scores.measurement",
    "gpu_kernels.strict",
}
"""Of the kernels' package, what computes nothing."""


def _graph(name: str) -> Graph:
    path = REPOSITORY / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return next(value for value in vars(module).values() if isinstance(value, Graph))


def _imports(path: Path) -> set[str]:
    # Read as text: CPython 3.11's parser can fail where another test left a thread that parses, too (gh-106905).
    return set(re.findall(r"^ *from ([\w.]+) import", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("asset", VIDEO.assets, ids=lambda asset: asset.name)
def test_an_asset_of_videos_has_a_module_and_a_test_of_its_name(asset: Asset) -> None:
    (module,) = ASSETS.rglob(f"{asset.name}.py")
    assigned = {
        target.id
        for node in ast.parse(module.read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert asset.name.upper() in assigned
    test = TESTS / "curate_assets" / "video" / "assets" / f"test_{asset.name}.py"
    assert test.exists() and re.search(r"^def test_", test.read_text(), re.MULTILINE)
    assert f"## `{asset.name}`" in (REPOSITORY / "docs" / "assets.md").read_text()


def test_the_kernels_of_assets_have_tests() -> None:
    used = {each for path in ASSETS.rglob("*.py") for each in _imports(path) if each.startswith("gpu_kernels.")}
    tested: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        tested |= _imports(path)
        if path.is_relative_to(TESTS / "gpu_kernels"):
            tested.add(f"gpu_kernels.{path.parent.name}.{path.stem.removeprefix('test_')}")
    assert not used - NO_KERNELS - tested


@pytest.mark.parametrize("name", ["pictures", "rigs"])
def test_an_asset_of_an_example_is_in_the_module_of_its_graph_and_in_its_test(name: str) -> None:
    graph, test = _graph(name), (TESTS / "test_example_graphs.py").read_text()
    assert graph.name == name
    assert all(asset.name in test for asset in graph.assets)

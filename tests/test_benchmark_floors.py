"""Floors of benchmarks: each is about a figure that its benchmark writes, and what is below its floor is told."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate_assets.graph.discovery import assets_in
from curate_assets.video.assets import measurements

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
FLOORS: dict[str, dict[str, dict[str, float]]] = yaml.safe_load((BENCHMARKS / "floors.yaml").read_text())


def read(*results: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(BENCHMARKS / "floors.py"), *map(str, results)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def written(path: Path, benchmark: str, figures: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"benchmark": benchmark, "figures": figures}))
    return path


@pytest.mark.parametrize("benchmark", FLOORS)
def test_a_floor_is_about_a_figure_that_a_benchmark_writes(benchmark):
    source = (BENCHMARKS / benchmark).read_text()
    runner = (BENCHMARKS / "measurements.py").read_text() if benchmark.startswith("proofs/") else source
    assert "write_figures(" in runner and '"--json"' in runner
    for figure, bounds in FLOORS[benchmark].items():
        assert f'"{figure}"' in source, f"{benchmark} writes no {figure}"
        assert bounds and bounds.keys() <= {"least", "most", "exact"}


def test_every_measurement_has_its_page_its_proof_and_floors():
    page = (BENCHMARKS.parent / "docs" / "measurements.md").read_text()
    costs = (BENCHMARKS.parent / "docs" / "benchmarks.md").read_text()
    names = {asset.name for asset in assets_in(measurements)} - {"answer_scores"}  # what a model says to any question
    for name in names:
        assert f"## `{name}`\n" in page and f"<!-- proof of {name} -->\n| " in page, name
        assert f"| `{name}` | " in costs and FLOORS[f"proofs/{name}.py"], name


@pytest.mark.parametrize(("kind", "wrong"), [("least", -0.01), ("most", 0.01), ("exact", 0.01)])
def test_a_figure_beyond_its_floor_fails_and_is_named(tmp_path, kind, wrong):
    benchmark, name, bound = next(
        (benchmark, name, bounds[kind])
        for benchmark, floors in FLOORS.items()
        for name, bounds in floors.items()
        if kind in bounds
    )
    good = {name: next(iter(bounds.values())) for name, bounds in FLOORS[benchmark].items()}
    assert read(written(tmp_path / "good.json", benchmark, good)).returncode == 0
    told = read(tmp_path / "good.json", written(tmp_path / "bad.json", benchmark, good | {name: bound + wrong}))
    assert told.returncode == 1
    (failing,) = [line for line in told.stdout.splitlines() if line.startswith("FAILS")]
    assert f"{benchmark}: {name} is" in failing and f"{kind} {bound:g}" in failing
    told = read(written(tmp_path / "less.json", benchmark, {key: good[key] for key in good if key != name}))
    assert told.returncode == 1 and f"{name} is missing" in told.stdout


def test_a_benchmark_and_the_reader_agree(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "rethreshold.py"), "--videos", "2", "--json", str(tmp_path / "r.json")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    told = read(tmp_path / "r.json")
    assert told.returncode == 0 and len(told.stdout.splitlines()) == len(FLOORS["rethreshold.py"]), told.stdout

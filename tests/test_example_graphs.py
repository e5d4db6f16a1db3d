"""The graphs of `examples/`: another package's, on roots of their own, through every part that takes a graph."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
Curate = Callable[..., Any]


@pytest.fixture
def installed(tmp_path) -> dict[str, str]:
    """An environment in which a package with both graphs is installed."""
    folder = tmp_path / "site"
    info = folder / "example_graphs-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example-graphs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[curate.graphs]\npictures = pictures:PICTURES\nrigs = rigs:RIGS\n")
    for name in ("pictures", "rigs"):
        shutil.copy(EXAMPLES / f"{name}.py", folder)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CURATE_GRAPH": ""}


def curating(root: Path, environment: dict[str, str], graph: str, engine: str = "in_process") -> Curate:
    root.mkdir(exist_ok=True)
    (root / "curate.yaml").write_text(json.dumps({"graph": graph, "engine": {"kind": engine}}))
    environment = {**environment, "CURATE_ROOT": str(root)}
    del environment["CURATE_GRAPH"]

    def curate(*arguments: str, code: int = 0) -> Any:
        command = [sys.executable, "-m", "curate_cli.main", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr

    return curate


def picture(path: Path, value: int, size: tuple[int, int] = (60, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)


def rig(folder: Path, seed: int, sweeps: int) -> None:
    (folder / "lidar").mkdir(parents=True)
    picture(folder / "camera" / "0.png", seed)
    for number in range(sweeps):
        np.save(folder / "lidar" / f"{number}.npy", np.full((10 + number, 4), seed, np.float32))


@pytest.mark.deep
def test_pictures_pass_through_everything(installed, tmp_path):
    for number in range(4):
        picture(tmp_path / "in" / f"{number}.png", 60 * number)
    shutil.copy(tmp_path / "in" / "3.png", tmp_path / "in" / "copy.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "in" / "film.mp4").write_bytes(b"no picture either")
    curate = curating(tmp_path / "root", installed, "pictures")
    assert curate("add", str(tmp_path / "in"), "--json")["new_files"] == 6
    planned = curate("plan", "--json")
    assert {asset["name"]: asset["compute"] for asset in planned["assets"]} == {"source_pictures": 6, "thumbnails": 0}
    curate("materialize", "--json")
    rows = curate("query", "select status, count(*) as n from source_pictures group by 1 order by 1", "--json")
    assert rows == [{"status": "empty", "n": 1}, {"status": "failed", "n": 1}, {"status": "ok", "n": 4}]
    thumbnails = curate("query", "select path, bytes, brightness from thumbnails order by brightness", "--json")
    assert [round(row["brightness"] * 255) for row in thumbnails] == [0, 60, 120, 180]
    for row in thumbnails:
        assert (tmp_path / "root" / row["path"]).stat().st_size == row["bytes"]
    assert "broken.png" in curate("status")
    picture(tmp_path / "in" / "broken.png", 250)
    picture(tmp_path / "in" / "0.png", 20)
    assert curate("add", str(tmp_path / "in"), "--json")["changed_files"] == 2
    curate("materialize", "--json")
    assert all(asset["compute"] == 0 for asset in curate("plan", "--json")["assets"])
    removed = curate("clean", "--older-than-hours", "0", "--json")
    assert len(removed["files"]) == 1  # the thumbnail of what 0.png was before
    assert len(list((tmp_path / "root" / "media" / "thumbnails").iterdir())) == 5
    assert "for roots of the graph video" in curate("report", code=2)


@pytest.mark.deep
def test_rigs_have_the_same_rows_on_every_engine(installed, tmp_path):
    for name, sweeps in (("a", 3), ("b", 2), ("c", 1)):
        rig(tmp_path / "in" / name, ord(name), sweeps)
    shutil.rmtree(tmp_path / "in" / "c" / "camera")
    found: list[Any] = []
    for engine in ("in_process", "ray"):
        curate = curating(tmp_path / engine, installed, "rigs", engine)
        added = curate("add", str(tmp_path / "in"), "--json")
        assert (added["new_files"], added["left_out"]["incomplete rigs"]) == (2, 1)
        curate("materialize", "--json")
        rows = curate("query", "select * exclude (slot) from sweeps order by rig_id, sweep", "--json")
        assert sorted(row["points"] for row in rows) == [10, 10, 11, 11, 12]
        found.append(rows)
    assert found[0] == found[1]
    curate = curating(tmp_path / "in_process", installed, "rigs")
    np.save(tmp_path / "in" / "b" / "lidar" / "2.npy", np.zeros((5, 4), np.float32))
    assert curate("add", str(tmp_path / "in"), "--json")["changed_files"] == 1
    by_name = {asset["name"]: asset for asset in curate("plan", "--json")["assets"]}
    assert (by_name["source_rigs"]["compute"], by_name["source_rigs"]["reuse"]) == (1, 1)
    curate("materialize", "--json")
    counted = "select count(*) as n, sum(points) as points from sweeps"
    assert curate("query", counted, "--json") == [{"n": 6, "points": 59}]
    loading = [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "curate_assets.definitions"]
    environment = {**installed, "CURATE_ROOT": str(tmp_path / "in_process"), "DAGSTER_HOME": str(tmp_path)}
    del environment["CURATE_GRAPH"]
    done = subprocess.run(loading, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_graph_that_is_not_there_is_named(installed, tmp_path):
    curate = curating(tmp_path / "root", installed, "picturs")
    said = curate("add", str(tmp_path), code=2)
    assert "there is no graph 'picturs' here; did you mean 'pictures'?" in " ".join(said.split())

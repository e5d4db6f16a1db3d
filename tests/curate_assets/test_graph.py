"""Graphs: what follows from assets that are declared, in this project or in another package."""

import importlib
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate_assets.graph.discovery import assets_in
from curate_assets.graph.graph import Asset, Graph, Phase
from curate_assets.graph.whole_table import Gathered, Made
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import Column, Table
from curate_resources.declarations.units import UnitFiles, UnitTable
from curate_resources.sources.manifests import MANIFEST

BRIGHTNESS = '''
import numpy as np
import pyarrow as pa
from pydantic import Field

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_resources.declarations.table import Column, Table
from curate_resources.declarations.stage import Stage
from gpu_kernels.strict import StrictModel


class BrightnessConfig(StrictModel):
    """How bright clips are."""

    gain: float = Field(default=1.0, gt=0)
    """What luma is multiplied by."""


BRIGHTNESS = Table(
    name="brightness",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("brightness",),
    columns=(VIDEO_ID, CLIP_ID, Column("luma", pa.float32(), "mean luma of its frames")),
    description="Mean luma of every clip.",
)


def open_scorer(config, storage):
    def score(work):
        luma = {row["video_id"]: np.array(row["luma"]) for row in work.inputs[MOTION_SIGNALS.name].to_pylist()}
        rows = []
        for clip in work.items.to_pylist():
            span = luma[clip["video_id"]][clip["start_frame"] : clip["end_frame"]]
            keys = {"video_id": clip["video_id"], "clip_id": clip["clip_id"]}
            rows.append({**keys, "luma": config.brightness.gain * span.mean()})
        return {"brightness": rows}

    return score


SCORE = Stage("score_brightness", CLIPS.name, (MOTION_SIGNALS.name,), (BRIGHTNESS,), open_scorer)
BRIGHT = Score("brightness", "Brightness", ("luma",), thresholds=(at_least("Least luma."),), within=(0, 2))
ASSET = Asset(
    BRIGHTNESS,
    SCORE,
    "clips",
    scores=(BRIGHT,),
    recorded=Record("brightness", ("luma",)),
    section=BrightnessConfig,
)
'''


def thing(name: str, *reads: str, item: str = MANIFEST.name) -> Asset:
    """An asset that is made from others."""
    table = Table(name, "thing", ("uri",), (Column("uri", pa.string()), Column("id", pa.string())), name)
    return Asset(table, Stage(f"make_{name}", item, reads, (table,), lambda config, storage: lambda work: {}), "things")


def graph(*assets: Asset) -> Graph:
    return Graph(
        "things",
        UnitTable(assets[0].table, UnitFiles("thing", frozenset({".thing"})), "id"),
        assets,
        (Phase("first", ""),),
    )


def test_assets_are_made_in_the_order_of_what_they_read():
    files = thing("files")
    sums = replace(thing("sums"), made_by=Gathered(thing("sums").table, lambda *_: Made(), (files.table,)))
    late = thing("late", "sums", item="parts")
    things = graph(files, late, sums, thing("more", item="parts"), thing("parts", item="files"))
    assert [asset.name for asset in things.assets] == ["files", "sums", "parts", "late", "more"]
    # What reads an asset of all shards streams in a phase of its own, after it.
    assert [step.name for step in things.steps] == ["first", "sums", "things_2"]
    assert [[asset.name for asset in phase.assets] for phase in things.phases] == [["files", "parts", "more"], ["late"]]
    names = {check.name for check in things.checks if check.table.name == "parts"}
    assert names == {"statuses_terminal", "keys_unique", "failures_few", "not_silently_empty", "every_thing_has_a_row"}


@pytest.mark.parametrize(
    ("assets", "said"),
    [
        ((thing("a"), thing("a")), "two assets a"),
        ((thing("a"), thing("b", "c")), "b is made from c, which is not there"),
        ((thing("a"), thing("b", item="c"), thing("c", item="b")), "b is made from c"),
    ],
)
def test_a_graph_that_cannot_be_made_is_an_error(assets, said):
    with pytest.raises(ValueError, match=said):
        _ = graph(*assets).assets


def package(folder: Path, module: str, text: str, group: str = "curate.measurements") -> dict[str, str]:
    """The environment of processes that have a package installed which brings an asset."""
    folder.mkdir()
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{module} = {module}:ASSET\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


def curate(root: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curate_cli.main", *arguments, "--root", str(root)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


SAID_OF_IT = """
from curate_assets.docs_pages.assets import assets_page
from curate_assets.graphs import GRAPH
from curate_assets.orchestration.asset_graph import defs
print(*(check.name for check in GRAPH.checks if check.table.name == "brightness"))
print("| [`brightness`](#brightness) | clip |" in assets_page(defs.resolve_asset_graph()))
"""


def samples(root: Path) -> list[dict[str, Any]]:
    """The records of a root's training set."""
    found = []
    for path in (root / "datasets").rglob("*.tar"):
        with tarfile.open(path) as tar:
            found += [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]
    return found


@pytest.mark.deep
def test_a_measurement_is_one_module(finished, tmp_path):
    """Of another package, it is set, made, checked, queried, counted, calibrated, selected by, reported, documented and
    in the training set as those of this project are: all follows from what the module declares."""
    root = finished.copy_to(tmp_path / "data")
    environment = package(tmp_path / "bright", "bright", BRIGHTNESS)
    (root.path / "curate.yaml").write_text("brightness: {gain: 2}\nengine: {kind: in_process}\n")
    made = curate(root.path, environment, "materialize", "--select", "brightness,training_dataset")
    assert made.returncode == 0, made.stderr
    recorded = [sample["brightness"]["luma"] for sample in samples(root.path)]
    assert len(recorded) > 1 and all(0 < luma <= 2 for luma in recorded)
    said = subprocess.run([sys.executable, "-c", SAID_OF_IT], env=environment, capture_output=True, text=True)
    checks, documented = said.stdout.splitlines()
    assert {"every_clip_has_a_row", "scores_in_range", "scores_steady"} <= set(checks.split()), said.stderr
    assert documented == "True"
    sql = "select count(*) as clips, min(luma) > 0 as bright, max(luma) <= 2 from brightness where status = 'ok'"
    rows = curate(root.path, environment, "query", sql, "--csv")
    clips = finished.tables.read(VIDEO.tables["clips"])["status"].to_pylist().count("ok")
    assert rows.stdout.splitlines()[1].split(",")[:2] == [str(clips), "true"], rows.stdout + rows.stderr
    assert "brightness" in curate(root.path, environment, "status").stdout
    explained = curate(root.path, environment, "config", "explain", "clip_selection.brightness_min")
    assert "Least luma." in explained.stdout, explained.stderr
    calibrated = curate(root.path, environment, "calibrate", "--score", "brightness", "--json")
    assert calibrated.returncode == 0, calibrated.stderr
    assert '"brightness_min"' in calibrated.stdout
    assert "Brightness" in (root.path / "reports" / "calibration.html").read_text()
    (root.path / "curate.yaml").write_text(
        "brightness: {gain: 2}\nengine: {kind: in_process}\nclip_selection: {brightness_min: 1.9}\n"
    )
    assert curate(root.path, environment, "materialize", "--select", "clip_selection").returncode == 0
    sql = "select distinct list_contains(reasons, 'brightness_low') from clip_selection"
    assert curate(root.path, environment, "query", sql, "--csv").stdout.splitlines()[1:] == ["true"]
    assert curate(root.path, environment, "report").returncode == 0
    assert "Brightness" in (root.path / "reports" / "dataset.html").read_text()
    (root.path / "curate.yaml").write_text("brightness: {gian: 2}\n")
    wrong = curate(root.path, environment, "materialize", "--select", "brightness")
    assert wrong.returncode != 0 and "brightness.gian: unknown key" in wrong.stderr and "gain" in wrong.stderr


def test_what_clips_can_be_selected_by_is_named_as_a_measurement(tmp_path):
    environment = package(tmp_path / "bright", "bright", BRIGHTNESS, group="curate.assets")
    said = curate(tmp_path, environment, "materialize")
    assert said.returncode != 0 and "name it in curate.measurements" in " ".join(said.stderr.split())


def test_a_module_in_the_folder_of_assets_is_on_the_graph(tmp_path, monkeypatch):
    things = tmp_path / "found_things"
    (things / "more").mkdir(parents=True)
    one = "from curate_assets.video.assets.clips import ASSET"
    for path, text in {
        "__init__": "",
        "one": one,
        "more/__init__": "",
        "more/two": f"{one} as A\nASSETS = (A,)",
    }.items():
        (things / f"{path}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [asset.name for asset in assets_in(importlib.import_module("found_things"))] == ["clips", "clips"]
    (things / "clips.py").write_text("")  # a part of that asset
    (things / "forgotten.py").write_text("")
    with pytest.raises(ValueError, match=r"found_things\.forgotten has no ASSET"):
        assets_in(importlib.import_module("found_things"))


def test_a_package_whose_asset_cannot_be_loaded_is_named(tmp_path):
    environment = package(tmp_path / "dim", "dim", "import nothing_of_that_name")
    said = curate(tmp_path, environment, "materialize")
    assert said.returncode != 0 and "Traceback" not in said.stderr
    assert "dim: the entry point dim = dim:ASSET of curate.measurements cannot be loaded" in " ".join(
        said.stderr.split()
    )

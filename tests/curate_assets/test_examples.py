"""The examples run as a stranger would run them: installed beside this project, by its commands, Dagster and Ray."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest

from curate_assets import dagster_definitions
from curate_assets.testing import TemporaryRoot
from curate_assets.video import CLIP_FILES, CLIPS, MOTION_SIGNALS, SOURCE_VIDEOS, VIDEO, CaptionRequest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    """One video of six frames and two clips, one that was too short for a clip, and one video without signals."""
    made = TemporaryRoot(tmp_path)
    made.add("x", ["/videos/a.mp4", "/videos/b.mp4"])
    made.store(SOURCE_VIDEOS, "x", [{"uri": f"/videos/{name}.mp4", "video_id": name} for name in ("a", "b")])
    luma = [0.5, 0.25, 0.75, 0.0, 1.0, 0.125]
    made.store(MOTION_SIGNALS, "x", [{"video_id": "a", "luma": luma}, {"video_id": "b", "status": "failed"}])
    clip = {"video_id": "a", "shot": 0, "start_ns": 0, "end_ns": 1}
    clips = [
        clip | {"clip_id": "a-0", "start_frame": 0, "end_frame": 3},
        clip | {"clip_id": "a-3", "start_frame": 3, "end_frame": 5},
        clip | {"clip_id": None, "start_frame": 5, "end_frame": 6, "status": "empty", "dropped": "too_short"},
        clip | {"clip_id": "b-0", "video_id": "b", "start_frame": 0, "end_frame": 3},
    ]
    made.store(CLIPS, "x", clips)
    return made


def test_brightness_is_scored_per_clip(root: TemporaryRoot) -> None:
    brightness = example("brightness")
    graph = VIDEO.extended([brightness.ASSET])
    (first,) = root.materialize(graph, "brightness_scores")
    (second,) = root.materialize(graph, "brightness_scores")
    rows = {row["clip_id"]: row for row in root.rows(brightness.BRIGHTNESS_SCORES)}
    assert {clip: (row["luma_mean"], row["luma_dark"]) for clip, row in rows.items()} == {
        "a-0": (0.5, 0.25),
        "a-3": (0.5, 0.0),
        "b-0": (None, None),
    }
    assert rows["b-0"]["status"] == "failed" and rows["b-0"]["error"]["stage"] == "score_brightness"
    assert (first.computed, second.computed, second.reused) == (3, 1, 2)  # what failed is tried again, the rest holds
    (other,) = root.materialize(graph, "brightness_scores", settings={"brightness_scores": {"dark_quantile": 0.5}})
    assert other.computed == 3


def test_the_example_stands_on_the_video_graph() -> None:
    graph = dagster_definitions(VIDEO.extended([example("brightness").ASSET])).resolve_asset_graph()
    parents = graph.get(dg.AssetKey("brightness_scores")).parent_keys
    assert parents == {dg.AssetKey("clips"), dg.AssetKey("motion_signals")}


def test_colours_are_embedded_and_named() -> None:
    red, blue = (np.full((4, 6, 3), colour, np.uint8) for colour in ((200, 10, 10), (10, 10, 90)))
    embedder = example("colour_embedder").ColoursConfig(levels=2).load()
    vectors = embedder.embed([red, red[:2], blue])
    assert vectors.shape == (3, embedder.dimension)
    assert (vectors @ vectors.T).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    captioner = example("colour_captioner").ColourCaptionsConfig().load()
    jpegs = [cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes() for picture in (red, blue)]
    assert [captioner.caption(CaptionRequest([jpeg], [0.0])).text for jpeg in jpegs] == [
        "A bright clip, mostly red.",
        "A dark clip, mostly blue.",
    ]


def test_the_training_set_is_written_as_parquet_and_a_lost_file_costs_no_other(copy: Any) -> None:
    export = example("parquet_dataset")
    config = VIDEO.extended([export.ASSET]).config_model("Settings", __name__).model_validate({})
    files = {row["clip_id"]: row for row in copy.tables.read(CLIP_FILES, where="status = 'ok'").to_pylist()}
    lost = min(files)
    copy.tables.storage.write(files[lost]["path"], b"another")
    done, about = export.ASSET.made_by.materialize(copy.tables, config)
    assert about == {"samples": len(files), "left_out": 0}
    assert done.statuses == {"failed": 1, "ok": len(files) - 1}
    rows = copy.tables.read(export.PARQUET_DATASET).to_pylist()
    assert "changed since it was cut" in next(row["error"]["message"] for row in rows if row["clip_id"] == lost)
    written = [
        each
        for path in {row["path"] for row in rows if row["path"]}
        for each in pq.read_table(copy.path / path).to_pylist()
    ]
    assert sorted(each["clip_id"] for each in written) == sorted(files.keys() - {lost})
    for each in written:
        assert each["video"] == copy.tables.storage.read(files[each["clip_id"]]["path"])
        assert json.loads(each["about"])["sha256"] == files[each["clip_id"]]["sha256"]


@pytest.mark.deep
def test_all_examples_run_through_dagster_on_ray_and_are_planned(finished, tmp_path, examples_installed) -> None:
    root = finished.copy_to(tmp_path / "data")
    (root.path / "curate.yaml").write_text(
        "engine: {kind: ray}\n"
        "clips: {min_seconds: 0.6, min_frames: 15, crop_seconds: 0.2}\n"
        "clip_embeddings: {backend: colours, levels: 3}\n"
        "captions: {backend: colours}\n"
        "clip_selection: {brightness_min: 0.1}\n"
    )

    def curate(*arguments: str) -> str:
        command = [sys.executable, "-m", "curate_cli.main", *arguments, "--root", str(root.path)]
        done = subprocess.run(command, env=examples_installed, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def planned() -> dict[str, int]:
        return {asset["name"]: asset["compute"] for asset in json.loads(curate("plan", "--json"))["assets"]}

    clips = root.tables.read(CLIPS)["status"].to_pylist().count("ok")
    before = planned()
    assert before["brightness_scores"] == before["clip_embeddings"] == clips and before["motion_scores"] == 0
    curate("materialize")
    after = planned()
    assert after["brightness_scores"] == after["clip_embeddings"] == after["captions"] == 0
    sql = (
        "select (select count(*) from brightness_scores where luma_mean between 0 and 1), "
        "(select count(*) from clip_embeddings where len(vector) = 27 and model = 'colours'), "
        "(select bool_and(text like 'A % clip, mostly %.') from captions)"
    )
    assert curate("query", sql, "--csv").splitlines()[1] == f"{clips},{clips},true"
    exported = (
        "select (select count(*) from parquet_dataset), (select count(*) from training_dataset where tar is not null)"
    )
    written, samples = curate("query", exported, "--csv").splitlines()[1].split(",")
    assert written == samples != "0"

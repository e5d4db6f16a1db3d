"""What other packages and notebooks may rely on."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import curate_assets
from curate_assets import Library, UserError, video
from curate_assets.testing import LosingEngine, TemporaryRoot
from curate_assets.video import CLIPS, SHOT_SIGNALS, SOURCE_VIDEOS, VIDEO
from curate_resources.pipeline.run import LostUnits

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = """
    Asset Check CheckLimits Column ConfigError CurateError Finding FunnelStep Gathered Graph Job Library LiveWorker
    MANIFEST Made Markdown Needs Phase PlatformConfig Record Role Row RunFailed Score Segments Shard Stage Storage
    StoredPath StoredTable StrictModel Table Tables UnitFiles UnitTable UserError View Work Worker at_least at_most
    dagster_definitions model_needs nothing_wrong
"""
VIDEO_NAMES = """
    CAPTIONS CLIPS CLIP_EMBEDDINGS CLIP_FILES CLIP_ID CLIP_SELECTION Caption CaptionRequest Captioner CaptionsConfig
    ChangedFile ClipEmbeddingsConfig DUPLICATE_GROUPS DUPLICATE_PAIRS Embedder MOTION_SIGNALS SAMPLED SHOT_SIGNALS
    SOURCE_VIDEOS STORYBOARDS Sample SamplesConfig Storyboard Storyboards TRAINING_DATASET VIDEO VIDEO_ID content_of
    decoded samples_of unit_rows
"""


@pytest.mark.parametrize(("module", "names"), [(curate_assets, NAMES), (video, VIDEO_NAMES)])
def test_the_exported_names_are_these(module, names) -> None:
    assert dir(module) == sorted(names.split())
    assert all(getattr(module, name) is not None for name in dir(module))
    (typed,) = (node for node in ast.parse(Path(module.__file__).read_text()).body if isinstance(node, ast.If))
    said = {alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert said == set(names.split())  # what type checkers see
    with pytest.raises(ImportError):
        exec(f"from {module.__name__} import nothing_of_that_name")


def test_importing_the_package_loads_nothing_else() -> None:
    code = (
        "import sys, curate_assets, curate_assets.video\n"
        "heavy = ('curate_assets.', 'curate_resources', 'gpu_kernels', 'pyarrow', 'pydantic', 'dagster', 'numpy')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n"
        "from curate_assets import Asset, Library, Stage\n"
        "from curate_assets.video import VIDEO\n"
        "print({'dagster', 'ray', 'torch', 'lance', 'duckdb'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert said.stdout.splitlines() == ["['curate_assets.video']", "set()"], said.stderr


def test_the_packages_say_that_they_are_typed() -> None:
    for package in ("curate_assets", "curate_cli", "curate_resources", "gpu_kernels"):
        assert Path(importlib.import_module(package).__file__ or "").with_name("py.typed").exists()


def test_a_library_is_read_as_arrow_pandas_lance_and_duckdb(finished) -> None:
    library = Library(finished.path)
    clips = library.table("clips")
    arrow = clips.arrow(["clip_id", "shard"], shard="a-000000", where="status = 'ok'")
    assert set(arrow["shard"].to_pylist()) == {"a-000000"}
    frame = clips.pandas(where="status = 'ok'")
    assert arrow["clip_id"].to_pylist() == frame[frame["shard"] == "a-000000"]["clip_id"].to_list()
    assert clips.lance().count_rows() == len(clips.arrow())
    assert library.sql("select count(*) as n from clips where status = 'ok'")["n"].to_pylist() == [len(frame)]
    with library.duckdb() as connection:
        assert connection.table("clips").filter("status = 'ok'").count("*").fetchall() == [(len(frame),)]
    with pytest.raises(UserError, match=r"no table 'clip'; did you mean 'clips'\?"):
        library.table("clip")
    assert {step.name: step.count for step in library.status().funnel}["clips"] == len(frame)


def test_a_library_is_planned_and_materialized_with_settings_of_its_own(copy, monkeypatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = {"engine": {"kind": "in_process"}, "clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}}
    library = Library(copy.path, settings | {"clip_selection": {"seconds_min": 100}})
    assert library.shards(["b-*"]) == ["b-000000"]
    assert next(each for each in library.plan("clip_selection").assets).compute > 0
    (outcome,) = library.materialize("clip_selection", shards=["b-000000"])
    assert outcome.error is None and outcome.shards == ("b-000000",)
    chosen = library.table("clip_selection").arrow(["selected"], shard="b-000000", where="status = 'ok'")
    assert set(chosen["selected"].to_pylist()) == {False}
    assert "DAGSTER_HOME" not in os.environ  # the next library has another


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"columns": ["clip_idd"]}, "did you mean 'clip_id'"),
        ({"where": "nothing = 1"}, "nothing"),
        ({"where": "true limit 1"}, "limit"),
        ({"where": "start_ns > 5e8"}, "whole numbers: write 500000000, or CAST"),
        ({"where": "clip_id = 5"}, "the column is text: write '5', in single quotes"),
        ({"where": "true) or (true"}, "parentheses do not match"),  # else rows of other shards come, too
    ],
)
def test_what_a_table_cannot_be_asked_is_said(tmp_path, asked, said) -> None:
    root = TemporaryRoot(tmp_path)
    for shard in ("x", "y"):
        root.add(shard, ["one.mp4"])
        root.store(CLIPS, shard, [{"video_id": "v", "clip_id": "c)"}])
    clips = Library(root.folder).table("clips")
    with pytest.raises(UserError, match=said):
        clips.arrow(shard="x", **asked)
    assert clips.arrow(["clip_id"], "x", "clip_id = 'c)' or (start_ns > 1)").num_rows == 1


def test_what_an_engine_loses_is_made_in_the_next_run(tmp_path) -> None:
    root = TemporaryRoot(tmp_path)
    for shard in ("x", "y"):
        root.add(shard, [f"{shard}.mp4"])
        video = {"uri": f"{shard}.mp4", "video_id": shard, "first_pts_ns": 0, "duration_ns": 4 * 10**9}
        root.store(SOURCE_VIDEOS, shard, [video])
        pts = [n * 10**9 // 25 for n in range(100)]
        root.store(SHOT_SIGNALS, shard, [{"video_id": shard, "pts_ns": pts, "transition": [0.0] * 100, "frames": 100}])
    engine = LosingEngine(lambda unit: unit.source == "x.mp4")
    with pytest.raises(LostUnits, match=r"1 videos never came back from the workers, run again: x: x\.mp4"):
        root.materialize(VIDEO, "clips", engine=engine)
    assert engine.lost == ["x.mp4"]
    assert [root.tables.shards(CLIPS), len(root.rows(CLIPS))] == [["y"], 1]  # a shard that was complete is there
    done = {each.shard: (each.computed, each.reused) for each in root.materialize(VIDEO, "clips")}
    assert done == {"x": (1, 0), "y": (0, 1)}

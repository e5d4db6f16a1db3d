"""The examples run: `brightness_scores` on hand-made tables, as Dagster runs it."""

import importlib.util
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from curate_assets.orchestration.partitions import SHARDS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_resources.declarations.table import Row, Table
from curate_resources.sources.manifests import Entry, Manifest
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SHARD = "x"


@pytest.fixture(scope="module")
def brightness():
    spec = importlib.util.spec_from_file_location("brightness_example", EXAMPLES / "brightness" / "definitions.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tables(tmp_path) -> Tables:
    """One video of six frames and two clips, one that was too short for a clip, and one video without signals."""
    storage = Storage(str(tmp_path))
    entries = tuple(Entry(uri=f"/videos/{name}.mp4", bytes=1, version="1") for name in ("a", "b"))
    storage.write(f"manifests/{SHARD}.json", Manifest(shard=SHARD, entries=entries).model_dump_json().encode())
    tables = Tables(storage)

    def store(table: Table, *rows: Row) -> None:
        common = {"shard": SHARD, "status": "ok", "fingerprint": "f"}
        tables.swap(table, SHARD, pa.Table.from_pylist([common | row for row in rows], schema=table.rows_schema))

    store(SOURCE_VIDEOS, *({"uri": f"/videos/{name}.mp4", "video_id": name} for name in ("a", "b")))
    store(
        MOTION_SIGNALS,
        {"video_id": "a", "luma": [0.5, 0.25, 0.75, 0.0, 1.0, 0.125]},
        {"video_id": "b", "status": "failed"},
    )
    clip = {"video_id": "a", "shot": 0, "start_ns": 0, "end_ns": 1}
    store(
        CLIPS,
        clip | {"clip_id": "a-0", "start_frame": 0, "end_frame": 3},
        clip | {"clip_id": "a-3", "start_frame": 3, "end_frame": 5},
        clip | {"clip_id": None, "start_frame": 5, "end_frame": 6, "status": "empty", "dropped": "too_short"},
        clip | {"clip_id": "b-0", "video_id": "b", "start_frame": 0, "end_frame": 3},
    )
    return tables


def test_brightness_is_scored_per_clip_through_dagster(brightness, tables):
    assert SHARDS.name is not None
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(SHARDS.name, [SHARD])

        def run() -> dg.MaterializeResult:
            result = dg.materialize(
                list(brightness.defs.assets),
                selection=["brightness_scores"],
                instance=instance,
                resources=brightness.defs.resources,
                partition_key=SHARD,
                run_config={"resources": {"curation": {"config": {"root": tables.storage.root}}}},
            )
            (event,) = result.asset_materializations_for_node("curate_videos")
            return event

        first, second = run(), run()
    rows = {row["clip_id"]: row for row in tables.read(brightness.BRIGHTNESS_SCORES, SHARD).to_pylist()}
    assert {clip: (row["luma_mean"], row["luma_min"]) for clip, row in rows.items()} == {
        "a-0": (0.5, 0.25),
        "a-3": (0.5, 0.0),
        "b-0": (None, None),
    }
    assert rows["b-0"]["status"] == "failed" and rows["b-0"]["error"]["stage"] == "score_brightness"
    assert first.metadata["computed"].value == 3
    assert second.metadata["computed"].value == 1  # what failed is tried again, the rest holds
    assert second.metadata["reused"].value == 2


def test_the_example_stands_on_the_video_graph(brightness):
    found = [value for value in vars(brightness).values() if isinstance(value, dg.Definitions)]
    assert len(found) == 1  # with more of them at its top, Dagster refuses the file
    graph = brightness.defs.resolve_asset_graph()
    parents = graph.get(dg.AssetKey("brightness_scores")).parent_keys
    assert parents == {dg.AssetKey("clips"), dg.AssetKey("motion_signals")}

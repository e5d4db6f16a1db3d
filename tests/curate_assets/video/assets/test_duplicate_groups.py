"""Which clips count as duplicates, and which of them is kept, on planted rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS, group_duplicates
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS, measure_pairs
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.selected_vectors import MixedModels
from curate_resources.declarations.table import Row, Table
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.shots.splitting import SECOND

FRAMES, RATE = 500, 25
PTS = (np.arange(FRAMES) * (SECOND // RATE)).tolist()
CAMERA = np.random.default_rng(0).normal(0, 0.01, (3, FRAMES)).cumsum(axis=1)
"""What happens before one camera, three times."""


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """A camera's film of two clips; a smaller copy of it in another shard; and another day before the same camera."""
    made = Tables(Storage(str(tmp_path)))
    film(made, "a", "original", CAMERA[0], bitrate=9, vector=[1.0, 0.0])
    film(made, "b", "copy", CAMERA[0] * 1.2 + 0.1, bitrate=3, vector=[0.95, (1 - 0.95**2) ** 0.5])
    film(made, "c", "another_day", CAMERA[1], bitrate=5, vector=[0.99, (1 - 0.99**2) ** 0.5])
    return made


def film(tables: Tables, shard: str, video: str, luma: np.ndarray, bitrate: int, vector: list[float]) -> None:
    def put(table: Table, *rows: Row) -> None:
        whole = [{"shard": shard, "status": "ok", "fingerprint": video, "video_id": video, **row} for row in rows]
        tables.swap(table, shard, pa.Table.from_pylist(whole, schema=table.rows_schema))

    put(SOURCE_VIDEOS, {"uri": video, "width": 640, "height": 360, "bytes": bitrate, "duration_ns": 20 * SECOND})
    put(SHOT_SIGNALS, {"frames": FRAMES, "pts_ns": PTS})
    put(MOTION_SIGNALS, {"luma": luma.tolist()})
    put(STORYBOARDS, {"frame": 0, "sharpness": 1.0})
    spans = [(0, 250), (250, FRAMES)]
    clips: list[Row] = [
        {
            "clip_id": f"{video}-{start}",
            "start_frame": start,
            "end_frame": end,
            "start_ns": start * SECOND // RATE,
            "end_ns": end * SECOND // RATE,
        }
        for start, end in spans
    ]
    put(CLIPS, *clips)
    put(CLIP_SELECTION, *({"clip_id": clip["clip_id"], "selected": True} for clip in clips))
    model = {"model": "m", "model_revision": "1", "vector": vector}
    put(CLIP_EMBEDDINGS, *({"clip_id": clip["clip_id"], **model} for clip in clips))


def kept(tables: Tables, **settings: float | None) -> dict[str, str]:
    """By clip, the one that is kept of its group."""
    config = CurationConfig.model_validate({"duplicate_groups": settings})
    for shard in ("a", "b", "c"):
        tables.swap(DUPLICATE_PAIRS, shard, measure_pairs(tables, shard, config.duplicate_pairs))
    rows = DUPLICATE_GROUPS.joined(group_duplicates(tables, config.duplicate_groups)).to_pylist()
    return {row["clip_id"]: row["keeper_clip_id"] for row in rows}


def test_copies_are_grouped_and_other_moments_before_the_same_camera_are_not(tables: Tables) -> None:
    assert kept(tables) == {
        "original-0": "original-0",
        "original-250": "original-250",
        "copy-0": "original-0",  # the original has the higher bitrate
        "copy-250": "original-250",
        "another_day-0": "another_day-0",  # though its vector is nearer
        "another_day-250": "another_day-250",
    }
    assert set(kept(tables, min_luma_correlation=None).values()) == {"original-0"}


def test_one_bad_vector_or_a_video_without_brightness_costs_no_other_its_group(tables: Tables) -> None:
    film(tables, "c", "bad", CAMERA[2], bitrate=5, vector=[30.0, 0.0])  # like everything, were it compared
    found = kept(tables, min_luma_correlation=None)
    assert found["bad-0"] == "bad-0" and found["copy-0"] == "original-0"
    film(tables, "c", "dark", np.zeros(0), bitrate=5, vector=[1.0, 0.0])
    found = kept(tables)
    assert found["dark-0"] == "dark-0" and found["copy-0"] == "original-0"


def test_the_same_file_in_two_shards_is_one_clip_whatever_happens_in_it(tables: Tables) -> None:
    for shard in ("b", "c"):
        film(tables, shard, "same", np.zeros(FRAMES), bitrate=5, vector=[0.0, 1.0])
    rows = DUPLICATE_GROUPS.joined(group_duplicates(tables, CurationConfig().duplicate_groups)).to_pylist()
    assert {row["group_size"] for row in rows} == {1}  # no pairs were measured yet
    kept(tables)
    rows = DUPLICATE_GROUPS.joined(group_duplicates(tables, CurationConfig().duplicate_groups)).to_pylist()
    assert {row["group_size"] for row in rows if row["clip_id"].startswith("same")} == {2}


def test_shards_of_different_models_are_named(tables: Tables) -> None:
    rows = tables.read(CLIP_EMBEDDINGS, "c", CLIP_EMBEDDINGS.rows_schema.names).to_pylist()
    other = [{**row, "model": "n"} for row in rows]
    tables.swap(CLIP_EMBEDDINGS, "c", pa.Table.from_pylist(other, schema=CLIP_EMBEDDINGS.rows_schema))
    with pytest.raises(MixedModels, match=r"m@1 in 2 shards, such as a; n@1 in 1 shards, such as c"):
        kept(tables)

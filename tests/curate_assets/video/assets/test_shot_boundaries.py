"""`shot_boundaries`: transitions are judged by the pictures, and clips are cut at what is left of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.boundary_signals import BOUNDARY_SIGNALS
from curate_assets.video.assets.clips import CLIPS, open_splitter
from curate_assets.video.assets.shot_boundaries import SHOT_BOUNDARIES, open_judge
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import Work
from curate_resources.declarations.table import Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.shots.evidence import EvidenceStream
from gpu_kernels.shots.splitting import SECOND
from gpu_kernels.shots.transitions import shots_between

FRAMES = 400


def filmed(seed: int) -> np.ndarray:
    """A slow pan over a picture: uint8 [FRAMES, 27, 48, 3]."""
    import cv2

    random = np.random.default_rng(seed)
    whole = cv2.resize(random.uniform(0, 255, (12, 160, 3)), (800, 60)).astype(np.uint8)
    return np.stack([whole[10:37, i // 8 : i // 8 + 48] for i in range(FRAMES)])


def signals() -> dict[str, list[Row]]:
    """Of a video with a cut after frame 99, and a flash at 300; the network calls both, and suspects frame 200."""
    film = np.concatenate([filmed(1)[:100], filmed(2)[100:]])
    film[300:302] = 255 - (255 - film[300:302]) // 6
    curve = np.zeros(FRAMES, np.float32)
    curve[[99, 200, 300]] = [0.9, 0.1, 0.6]
    stream = EvidenceStream()
    stream.add(film, curve)
    stream.finish()
    frames, evidence = stream.found()
    pts = np.arange(FRAMES) * (SECOND // 25)
    shots = {"video_id": "v", "frames": FRAMES, "pts_ns": pts, "transition": curve, "status": "ok"}
    pictures = {"video_id": "v", "frames": FRAMES, "frame": frames, "evidence": evidence.ravel(), "status": "ok"}
    return {SHOT_SIGNALS.name: [shots], BOUNDARY_SIGNALS.name: [pictures]}


def made(opened: Any, table: Table, inputs: Mapping[str, list[Row]], tables: Mapping[str, Table], **settings: Any):
    config = validated({"clips": {"crop_seconds": 0}, **settings})
    video = {"video_id": "v", "first_pts_ns": 0, "duration_ns": 16 * SECOND, "status": "ok"}
    items = pa.Table.from_pylist([video], schema=SOURCE_VIDEOS.rows_schema)
    read = {name: pa.Table.from_pylist(rows, schema=tables[name].rows_schema) for name, rows in inputs.items()}
    work = Work(items, read, frozenset({table.name}), {table.name: ["f"]})
    return opened(config, Storage("."))(work)[table.name]


TABLES = {table.name: table for table in (SHOT_SIGNALS, BOUNDARY_SIGNALS, SHOT_BOUNDARIES)}


def boundaries(inputs: Mapping[str, list[Row]], **settings: Any) -> list[Row]:
    rows = made(open_judge, SHOT_BOUNDARIES, inputs, TABLES, shot_boundaries={"enabled": True, **settings})
    return [{"status": "ok", **row} for row in rows]


def shots(inputs: Mapping[str, list[Row]], **settings: Any) -> list[tuple[int, int]]:
    rows = made(open_splitter, CLIPS, inputs, TABLES, **settings)
    return [(row["start_frame"], row["end_frame"]) for row in rows]


def test_clips_are_cut_at_what_the_pictures_confirm() -> None:
    inputs = signals()
    judged = boundaries(inputs)
    told = [(row["first_frame"], row["end_frame"], row["label"], row["verdict"]) for row in judged]
    assert told == [(99, 100, "cut", "confirmed"), (200, 201, "motion", "dropped"), (300, 301, "flash", "dropped")]
    off = {SHOT_SIGNALS.name: inputs[SHOT_SIGNALS.name]}
    assert shots(off) == [(0, 100), (100, 301), (301, 400)]
    on = {**off, SHOT_BOUNDARIES.name: judged}
    assert shots(on, shot_boundaries={"enabled": True}) == [(0, 100), (100, 400)]
    with pytest.raises(ValueError, match="see the error of its row in shot_boundaries"):
        shots({**off, SHOT_BOUNDARIES.name: []}, shot_boundaries={"enabled": True})


def test_thresholds_drop_add_and_stitch() -> None:
    inputs = signals()

    def verdicts(**settings: Any) -> list[str]:
        return [row["verdict"] for row in boundaries(inputs, **settings)]

    assert verdicts(keep_above=0) == ["confirmed", "dropped", "confirmed"]
    assert verdicts(add_above=0) == ["confirmed", "added", "dropped"]
    assert verdicts(keep_above=0, stitch_below=0.4) == ["confirmed", "dropped", "stitched"]
    assert verdicts(keep_above=0, stitch_below=2) == ["stitched", "dropped", "stitched"]


def test_a_video_without_suspects_has_an_empty_row_and_is_one_shot() -> None:
    inputs = signals()
    inputs[SHOT_SIGNALS.name][0]["transition"] = np.zeros(FRAMES, np.float32)
    inputs[BOUNDARY_SIGNALS.name][0] |= {"frame": [], "evidence": []}
    (row,) = boundaries(inputs)
    assert (row["status"], row.get("verdict")) == ("empty", None)
    on = {SHOT_SIGNALS.name: inputs[SHOT_SIGNALS.name], SHOT_BOUNDARIES.name: [row]}
    assert shots(on, shot_boundaries={"enabled": True}) == [(0, 400)]


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shot_signals.network is none"):
        validated(
            {
                "shot_boundaries": {"enabled": True},
                "shot_signals": {"network": "none"},
                "clips": {"splitter": "fixed_stride"},
            }
        )
    with pytest.raises(ConfigError, match=r"clips.transition_threshold is below 0.05"):
        validated({"shot_boundaries": {"enabled": True}, "clips": {"transition_threshold": 0.02}})


@pytest.mark.deep
def test_clips_of_a_real_video_are_cut_at_its_rows_and_thresholds_scan_nothing_again(tmp_path, media) -> None:
    path = media.made(
        tmp_path / "a.mp4",
        "-f lavfi -i testsrc2=s=160x90:r=25:d=3 -f lavfi -i mandelbrot=s=160x90:r=25:start_scale=1.5,trim=duration=4 "
        "-filter_complex concat=n=2:v=1 -c:v libx264 -pix_fmt yuv420p",
    )
    root = TemporaryRoot(tmp_path / "root")
    root.add("x", [str(path)])
    settings = {"clips": {"min_seconds": 0.5, "min_frames": 5, "crop_seconds": 0}, "shot_boundaries": {"enabled": True}}
    scanned = (SOURCE_VIDEOS.name, SHOT_SIGNALS.name, BOUNDARY_SIGNALS.name)
    root.materialize(VIDEO, *scanned, SHOT_BOUNDARIES.name, CLIPS.name, settings=settings)
    judged = root.rows(SHOT_BOUNDARIES)
    assert (judged[0]["first_frame"], judged[0]["label"], judged[0]["verdict"]) == (74, "cut", "confirmed")
    parting = [(row["first_frame"], row["end_frame"]) for row in judged if row["verdict"] == "confirmed"]
    assert [(row["start_frame"], row["end_frame"]) for row in root.rows(CLIPS)] == shots_between(parting, 175)
    stored = root.rows(BOUNDARY_SIGNALS)
    again = {**settings, "shot_boundaries": {"enabled": True, "keep_above": 1}}
    root.materialize(VIDEO, *scanned, SHOT_BOUNDARIES.name, CLIPS.name, settings=again)
    assert root.rows(BOUNDARY_SIGNALS) == stored
    assert {row["verdict"] for row in root.rows(SHOT_BOUNDARIES)} == {"dropped"}
    assert [(row["start_frame"], row["end_frame"]) for row in root.rows(CLIPS)] == [(0, 175)]
    off = {"clips": settings["clips"]}
    root.materialize(VIDEO, SHOT_SIGNALS.name, CLIPS.name, settings=off)
    assert root.rows(CLIPS)[0]["end_frame"] == 75

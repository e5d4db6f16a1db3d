"""Scores as columns are those that each clip has by its own row."""

import numpy as np
import pyarrow as pa
import pytest

from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.clip_scores import by_clip, clip_scores
from curate_assets.video.verdicts import SCORED, judged
from curate_resources.declarations.table import Row, Table
from gpu_kernels.shots.splitting import SECOND

NAMES = ("seconds", "short_side", "motion_peak")


def rows_of(table: Table, rows: list[Row], shuffled: np.random.Generator) -> pa.Table:
    """In any order."""
    chosen = [{"status": "ok", **rows[place]} for place in shuffled.permutation(len(rows))]
    return pa.Table.from_pylist(chosen, schema=table.rows_schema)


@pytest.mark.parametrize("videos", [3, 400])
def test_scores_are_those_of_the_rows_of_each_clip_and_its_video(videos: int) -> None:
    """Two shards with the same videos, measured differently; some videos and clips were not measured, or failed."""
    chance = np.random.default_rng(videos)
    clips: list[Row] = []
    sources: list[Row] = []
    motion: list[Row] = []
    expected: list[dict[str, float | None]] = []
    for shard in ("a", "b"):
        for video in range(videos):
            of_video = {"shard": shard, "video_id": f"v{video}"}
            side = int(chance.integers(100, 1000))
            probed = video % 3 != 1
            if probed:
                sources.append({**of_video, "uri": f"{shard}/{video}", "width": side, "height": side + 1})
            for number in range(3):
                key = {**of_video, "clip_id": f"v{video}c{number}"}
                clips.append({**key, "start_ns": number * SECOND, "end_ns": (2 * number + 1) * SECOND})
                peak, measured = float(np.float32(chance.random())), chance.random() < 0.8
                motion.append({**key, "peak": peak, "status": "ok" if measured else "failed"})
                expected.append(
                    {
                        "seconds": number + 1.0,
                        "short_side": side if probed else None,
                        "motion_peak": peak if measured else None,
                    }
                )
    table = pa.Table.from_pylist(clips, schema=CLIPS.rows_schema)
    rows = {
        SOURCE_VIDEOS.name: rows_of(SOURCE_VIDEOS, sources, chance),
        MOTION_SCORES.name: rows_of(MOTION_SCORES, motion, chance),
    }
    assert by_clip(clip_scores(SCORED, NAMES, table, rows)) == expected
    in_order = {**rows, MOTION_SCORES.name: pa.Table.from_pylist(motion, schema=MOTION_SCORES.rows_schema)}
    assert by_clip(clip_scores(SCORED, NAMES, table, in_order)) == by_clip(clip_scores(SCORED, NAMES, table, rows))


def test_only_scores_whose_threshold_is_on_are_asked_for() -> None:
    from curate_assets.settings.resolve import validated

    asked: list[frozenset[str]] = []

    def scores(names: frozenset[str]) -> dict[str, np.ndarray]:
        asked.append(names)
        return {name: np.array([1.0, np.nan]) for name in names}

    config = validated({"clip_selection": {"motion_peak_min": None, "seconds_max": 0.5}})
    assert judged(config, ["a", "b"], scores, None).reasons.each == [("seconds_high",), ("seconds_unmeasured",)]
    assert asked == [frozenset({"seconds"})]

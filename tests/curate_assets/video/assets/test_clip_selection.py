"""`clip_selection`: verdicts are what SQL says of the scores and thresholds, and cost nothing that was measured."""

from collections.abc import Mapping
from dataclasses import replace

import duckdb
import numpy as np
import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.resolve import validated
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.tables.history import History


def test_reasons_are_those_that_sql_finds(copy) -> None:
    scores = copy.tables.read(MOTION_SCORES, where="status = 'ok'")
    mean, peak = (float(np.quantile(scores[name], 0.2)) for name in ("global_mean", "peak"))
    thresholds = {"motion_global_mean_min": mean, "motion_peak_min": peak, "short_side_min": 140}
    done = copy.run(frozenset({CLIP_SELECTION.name}), {"clip_selection": thresholds})
    assert {name.partition("/")[0] for name, each in done.items() if each.computed} == {CLIP_SELECTION.name}
    clips, motion, videos = (
        copy.tables.read(table, where="status = 'ok'") for table in (CLIPS, MOTION_SCORES, SOURCE_VIDEOS)
    )
    assert clips.num_rows and motion.num_rows and videos.num_rows
    found = duckdb.sql(
        f"select distinct clip_id, global_mean < {mean} as motion_global_mean_low, peak < {peak} as motion_peak_low, "
        "least(width, height) < 140 as short_side_low "
        "from clips join motion using (clip_id, shard) join videos on videos.video_id = clips.video_id"
    ).to_arrow_table()
    expected = {row.pop("clip_id"): {reason for reason, holds in row.items() if holds} for row in found.to_pylist()}
    rows = copy.tables.read(CLIP_SELECTION).to_pylist()
    assert {row["clip_id"]: {*row["reasons"]} for row in rows} == expected
    assert all(row["selected"] == (not row["reasons"]) for row in rows)
    assert 0 < sum(row["selected"] for row in rows) < len(rows)


def test_the_files_of_a_shard_at_once_get_the_rows_of_each_alone(copy) -> None:
    """Among them an exact copy, whose row in source_videos has the id of another file, and one that is no video."""

    def inputs() -> list[Mapping[str, str]]:
        return [History(copy.storage).last(CLIP_SELECTION.name, 1, shard)[0].inputs for shard in copy.shards]

    plan = copy.plan(frozenset({CLIP_SELECTION.name}), {"clip_selection": {"short_side_min": 140, "seconds_max": 2}})
    assert plan.by_shard and len(plan.units("a-000000")) == 1
    done = [*materialize(plan, copy.shards, InProcessEngine())]
    at_once = copy.tables.read(CLIP_SELECTION)
    recorded = inputs()
    (stage,) = plan.stages
    alone = replace(plan, stages=(replace(stage, of_shards=False),))
    assert len(alone.units("a-000000")) == 3
    again = [*materialize(alone, copy.shards, InProcessEngine())]
    assert sum(each.computed for each in done) > 0 == sum(each.computed for each in again)  # the fingerprints hold
    materialized = [*materialize(replace(alone, force=True), copy.shards, InProcessEngine())]
    assert copy.tables.read(CLIP_SELECTION).equals(at_once)
    assert [each.digest for each in materialized] == [each.digest for each in done]
    assert inputs() == recorded


def test_a_threshold_on_what_is_not_measured_is_an_error_that_names_what_to_switch_on():
    said = "is not valid:\n  clip_selection.windows_against_max needs answer_scores, which is off"
    with pytest.raises(ConfigError, match=said):
        validated({"clip_selection": {"windows_against_max": 0.5}})
    validated({"clip_selection": {"windows_against_max": None}})
    validated(validated({}).model_dump(exclude_none=True))  # which names every default


@pytest.mark.parametrize("score", ["seconds", "loudness", "faces_share", "exposure"])
def test_a_threshold_that_contradicts_another_is_an_error_that_names_both(score: str) -> None:
    most, least = (-30, -20) if score == "loudness" else (0.3, 0.4)
    measured = {name: {"enabled": True} for name in ("audio_signals", "faces", "technical_quality")}
    with pytest.raises(ConfigError, match=rf"{score}_min \({least}\) is more than {score}_max \({most}\)"):
        validated({"clip_selection": {f"{score}_min": least, f"{score}_max": most}, **measured})
    validated({"clip_selection": {f"{score}_min": most, f"{score}_max": most}, **measured})

"""Thresholds from planted scores: the percentile is right, what is written is read again, and the selection follows,
as `curate select --what-if` said before."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.edit import write_settings
from curate_assets.settings.presets import side_by_side
from curate_assets.settings.resolve import CONFIG_FILE, parse_config, resolve_config, validated
from curate_assets.video.assets.clip_selection import CLIP_SELECTION, ClipSelectionConfig
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.calibration import CANDIDATES, calibrate
from curate_assets.video.clip_lists import write_list
from curate_assets.video.graph import VIDEO
from curate_assets.video.report.calibration_page import borders, render_calibration
from curate_assets.video.report.what_if_page import WHAT_IF_PATH, render_what_if
from curate_assets.video.video_files import VIDEO_FILES
from curate_assets.video.what_if import WhatIf, tried, what_if
from curate_cli.app import app
from curate_resources.declarations.table import Row, Table
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.plan import MissingInput
from curate_resources.pipeline.run import materialize
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import UserError
from gpu_kernels.shots.splitting import SECOND

CLIPS_PER_SHARD = 100

SETTINGS = """\
# My library.
clip_selection:
  motion_global_mean_min: 0.0095  # a guess
  motion_peak_min: null
engine: {kind: in_process}
"""


def swap(tables: Tables, table: Table, shard: str, rows: list[Row]) -> None:
    filled = [{"shard": shard, "status": "ok", "fingerprint": "f", **row} for row in rows]
    tables.swap(table, shard, pa.Table.from_pylist(filled, schema=table.rows_schema))


@pytest.fixture
def root(tmp_path: Path) -> Tables:
    """Two shards of a video each; over both, clip i of 200 has motion i/1000 and a length of 2 + i/100 seconds."""
    tables = Tables(Storage(str(tmp_path / "data")))
    tables.storage.write(CONFIG_FILE, SETTINGS.encode())
    for number, name in enumerate(("a", "b")):
        file = tmp_path / name / "film.mp4"
        file.parent.mkdir()
        file.write_text(name)
        add_units(Manifests(tables.storage), str(file.parent), name, 10, 1 << 30, VIDEO_FILES)
        shard, video = f"{name}-000000", f"video-{name}"
        facts = {"width": 1280, "height": 720 if name == "a" else 360, "average_rate": 25.0}
        swap(tables, SOURCE_VIDEOS, shard, [{"uri": str(file), "video_id": video, "bytes": 1, **facts}])
        clips: list[Row] = []
        scores: list[Row] = []
        for place in range(CLIPS_PER_SHARD):
            index = number * CLIPS_PER_SHARD + place
            start, end = place * 10 * SECOND, (place * 10 + 2) * SECOND + index * SECOND // 100
            key = {"video_id": video, "clip_id": f"{video}-{place:03d}"}
            frames = {"start_frame": place * 250, "end_frame": place * 250 + 50}
            clips.append({**key, "shot": place, "start_ns": start, "end_ns": end, **frames})
            scores.append({**key, "global_mean": index / 1000, "per_patch_min_256": 0.0})
        swap(tables, CLIPS, shard, clips)
        swap(tables, MOTION_SCORES, shard, scores)
    return tables


def selected(tables: Tables) -> set[str]:
    """The clips that the selection keeps when it is made with the root's own configuration."""
    plan = VIDEO.plan(frozenset({CLIP_SELECTION.name}), resolve_config(tables.storage), tables.storage.root)
    list(materialize(plan, Manifests(tables.storage).shards(), InProcessEngine()))
    return set(tables.read(CLIP_SELECTION, columns=["clip_id"], where="selected")["clip_id"].to_pylist())


def test_thresholds_are_percentiles_and_selection_follows_what_is_written(root: Tables) -> None:
    before = selected(root)
    assert len(before) == 190  # motion from 0.010 on
    arguments = ["calibrate", "--root", root.storage.root, "--json", "--no-open", "--percentile", "20"]
    arguments += ["--score", "motion_global_mean", "--score", "seconds"]

    shown = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert root.storage.read(CONFIG_FILE).decode() == SETTINGS
    assert shown["written"] is None
    found = {each["setting"]: each for each in shown["proposals"]}
    assert {name: each["proposed"] for name, each in found.items()} == {
        "motion_global_mean_min": 0.0398,  # numpy's percentile of 0 to 0.199
        "seconds_min": pytest.approx(2.398),
        "seconds_max": pytest.approx(3.592),
    }
    # Motion and length grow together: the shortest clips are the stillest, the longest are no others' concern.
    rejected = {name: (each["rejected_now"], each["rejected"], each["rejected_alone"]) for name, each in found.items()}
    assert rejected == {
        "motion_global_mean_min": (10, 40, 0),
        "seconds_min": (0, 40, 0),
        "seconds_max": (0, 40, 40),
    }
    assert (shown["rejected_now"], shown["rejected"]) == (10, 80)

    alike = CliRunner().invoke(app, ["calibrate", "--all", "--no-open", "--root", root.storage.root])
    assert "Nothing was set: --score NAME --write sets those of a score." in alike.stdout  # with --all it is an error

    written = CliRunner().invoke(app, [*arguments, "--write"])
    assert json.loads(written.stdout)["proposals"] == shown["proposals"]
    text = root.storage.read(CONFIG_FILE).decode()
    assert "# My library." in text and "motion_global_mean_min: 0.0398  # a guess" in text
    assert len(selected(root)) == 120


def test_the_sample_is_the_same_every_time_and_stands_for_the_whole(root: Tables) -> None:
    config = resolve_config(root.storage)
    some = calibrate(root, config, [], 120, 50.0)
    assert len(some.sample) == 120
    assert some == calibrate(root, config, [], 120, 50.0)
    assert some.sample != calibrate(root, config, [], 120, 50.0, seed=1).sample
    assert 0.07 < some.settings["motion_global_mean_min"] < 0.13


def test_of_a_list_only_its_clips_are_calibrated(root: Tables) -> None:
    """The upper half of the clips of the second shard: motion from 0.15 to 0.199."""
    name = write_list(root.storage, "half", [f"video-b-{place:03d}" for place in range(50, 100)], [None] * 50)
    config = validated({"clip_selection": {"motion_global_mean_min": 0.01, "motion_peak_min": None, "only": name}})
    found = calibrate(root, config, [], 5000, 50.0)
    assert (found.clips, found.rejected_now) == (50, 0)
    assert found.settings == {"motion_global_mean_min": 0.1745}
    of_others = write_list(root.storage, "others", ["gone"], [None])
    with pytest.raises(MissingInput, match=r"no clip with scores is on the list clip_selection\.only: others-"):
        calibrate(root, validated({"clip_selection": {"only": of_others}}), ["motion_global_mean"], 5000, 50.0)


def test_a_preset_is_calibrated_by_its_own_shards_and_the_rest_by_theirs(root: Tables) -> None:
    """Motion of the clips of b begins where that of a ends, at 0.1."""
    manifests, preset = Manifests(root.storage), "presets/studio.yaml"
    manifests.write(manifests.load("b-000000").model_copy(update={"preset": "studio"}))
    root.storage.write(preset, b"clips: {min_seconds: 1.0}  # short takes\n")
    arguments = ["calibrate", "--root", root.storage.root, "--json", "--no-open", "--percentile", "50", "--write"]

    def proposed(*more: str) -> float:
        shown = json.loads(CliRunner().invoke(app, [*arguments, *more]).stdout)
        assert (shown["clips"], shown["written"]) == (
            CLIPS_PER_SHARD,
            root.storage.uri(preset if more else CONFIG_FILE),
        )
        (proposal,) = shown["proposals"]
        return proposal["proposed"]

    assert proposed("--preset", "studio") == pytest.approx(0.1495)
    assert proposed() == pytest.approx(0.0495)
    written = root.storage.read(preset).decode()
    assert "# short takes" in written and "motion_global_mean_min: 0.1495" in written
    root.storage.write("presets/empty.yaml", b"")
    nobody = CliRunner().invoke(app, [*arguments, "--preset", "empty"])
    assert nobody.exit_code != 0 and "no shard has the preset empty" in nobody.output


def test_every_score_is_shown_within_the_bounds_of_its_settings(root: Tables) -> None:
    """Frame rates must be above 0, and a share of stillness is at most 1: percentiles of what is stored may not be."""
    rate = {"width": 1280, "height": 720, "average_rate": 0.0, "uri": "/a", "video_id": "video-a", "bytes": 1}
    swap(root, SOURCE_VIDEOS, "a-000000", [rate])
    config = resolve_config(root.storage)
    found = calibrate(root, config, [], 200, 5.0, every=True)
    by_setting = {each.setting: each for each in found.proposals}
    assert {"motion_global_mean_min", "seconds_min", "seconds_max", "short_side_min", "frame_rate_min"} <= set(
        by_setting
    )
    for each in found.proposals:
        assert each.proposed in {one.value for one in each.candidates}
        for one in each.candidates:
            assert ClipSelectionConfig.model_validate({each.setting: one.value})
            scores = np.array([clip.scores[each.score] for clip in found.sample], np.float64)
            assert one.rejected == int((scores < one.value if each.rejects == "low" else scores > one.value).sum())
    assert by_setting["frame_rate_min"].proposed == 25.0  # of no clip: 0 is not allowed, and the next is above
    assert by_setting["motion_global_mean_min"].percentiles[50.0] == pytest.approx(0.0995)
    assert "motion_peak_min" in found.left_out and "motion_peak_min" not in found.settings
    (border,) = (each for each in borders(root, found) if each.proposal.setting == "seconds_max")
    assert len(border.others) == len(CANDIDATES) - 1
    for sides in (border.proposed, *border.others):
        assert (
            min(each.score for each in sides.rejected) > sides.candidate.value >= max(each.score for each in sides.kept)
        )
    refused = CliRunner().invoke(app, ["calibrate", "--root", root.storage.root, "--all", "--write"])
    assert refused.exit_code == 2 and "--score" in refused.output


def test_what_cannot_be_calibrated_is_said(root: Tables, tmp_path: Path) -> None:
    config = resolve_config(root.storage)
    with pytest.raises(UserError, match="choose from short_side, "):
        calibrate(root, config, ["beauty"], 10, 5.0)
    with pytest.raises(MissingInput, match="curate materialize --select motion_scores"):
        calibrate(Tables(Storage(str(tmp_path / "none"))), config, [], 10, 5.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clips:\n  min_seconds: 3 # keep\n",
        "clip_selection: # mine\nclips: {min_seconds: 3}",
        "clip_selection: ~\n",
        "clip_selection:\n    # why\n    seconds_min: 2",
        '{"clips": {"min_seconds": 3}, "clip_selection": {"seconds_min": 2}}',
    ],
)
def test_settings_are_written_into_any_ordinary_file(tmp_path: Path, text: str) -> None:
    storage = Storage(str(tmp_path))
    storage.write(CONFIG_FILE, text.encode())
    write_settings(storage, "clip_selection", {"motion_per_patch_min": 1e-06, "seconds_min": 1.5})
    before, after = parse_config(text, "before"), parse_config(storage.read(CONFIG_FILE).decode(), "after")
    assert after == {
        **before,
        "clip_selection": {**(before.get("clip_selection") or {}), "motion_per_patch_min": 1e-06, "seconds_min": 1.5},
    }
    assert all(
        comment in storage.read(CONFIG_FILE).decode() for comment in ("# keep", "# mine", "# why") if comment in text
    )


@pytest.mark.parametrize(
    "text",
    [
        "---\nclips:\n      min_seconds:   3   # odd spaces\nclip_selection: {seconds_min: 2, # in braces\n  }\n",
        "clips: {min_seconds: 3}\r\nclip_selection:\r\n  seconds_min: 2\r\n",
        "clip_selection:\n  seconds_min: 2\ncaptions:\n  prompt: a text that goes on\n    in the next line\n",
    ],
)
def test_all_but_the_setting_stays_byte_for_byte(tmp_path: Path, text: str) -> None:
    """Which libraries that write YAML do not do: they indent, wrap and end lines in their own way."""
    storage = Storage(str(tmp_path))
    storage.write(CONFIG_FILE, text.encode())
    write_settings(storage, "clip_selection", {"seconds_min": 1.5})
    assert storage.read(CONFIG_FILE).decode() == text.replace("seconds_min: 2", "seconds_min: 1.5")


@pytest.mark.parametrize("text", ["clips: {min_second: 3}", "clips: &same {min_seconds: 3}\nclip_selection: *same\n"])
def test_a_file_that_cannot_be_changed_stays_as_it_is(tmp_path: Path, text: str) -> None:
    storage = Storage(str(tmp_path))
    storage.write(CONFIG_FILE, text.encode())
    with pytest.raises(ConfigError):
        write_settings(storage, "clip_selection", {"seconds_min": 1.5})
    assert storage.read(CONFIG_FILE).decode() == text


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_the_page_fits_every_window(root: Tables, layout_faults: Any, width: int) -> None:
    found = calibrate(root, resolve_config(root.storage), ["motion_global_mean", "seconds"], 50, 5.0, 0, None)
    assert layout_faults(render_calibration(root, found), width) == []


def test_gained_and_lost_are_those_of_the_run_that_follows(root: Tables) -> None:
    before = selected(root)
    version = root.dataset(CLIP_SELECTION.name).version
    assignments = ["motion_global_mean_min=null", "clip_selection.short_side_min=400", "seconds_max=2.5"]
    arguments = ["select", "--root", root.storage.root, "--json", "--no-open"]
    shown = CliRunner().invoke(app, [*arguments, *(part for each in assignments for part in ("--what-if", each))])
    found = json.loads(shown.stdout)
    assert root.dataset(CLIP_SELECTION.name).version == version
    write_settings(root.storage, "clip_selection", tried(assignments))
    after = selected(root)
    assert {clip["clip_id"] for clip in found["gained"]["shown"]} == after - before and after - before
    lost = before - after
    assert found["lost"]["clips"] == len(lost) and {c["clip_id"] for c in found["lost"]["shown"]} < lost
    assert found["selected"] == [len(before), len(after)] and found["clips"] == 2 * CLIPS_PER_SHARD
    assert found["reasons"]["short_side_low"] == [0, CLIPS_PER_SHARD]
    assert found["reasons"]["motion_global_mean_low"] == [10, 0]
    assert found["gained"]["seconds"] == pytest.approx(sum(2 + place / 100 for place in range(10)))


def looked_at(tables: Tables, shards: list[str], *assignments: str) -> WhatIf:
    settings = tried(assignments)
    return what_if(tables, settings, side_by_side(tables.storage, {"clip_selection": settings}, shards), 24)


def test_what_if_some_shards_can_be_looked_at_alone(root: Tables) -> None:
    found = looked_at(root, ["b-000000"], "motion_global_mean_min=0.15")
    assert (found.clips, found.selected, found.lost.clips) == (CLIPS_PER_SHARD, (100, 50), 50)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("motion_peek_min=1", "did you mean 'motion_peak_min'"),
        ("beauty=1", "choose from short_side_min, "),
        ("motion_peak_min", "motion_peak_min=0.5, or motion_peak_min=null"),
        ("motion_peak_min=much", "'much' is not a number"),
    ],
)
def test_what_cannot_be_tried_is_said(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tried([text])


def test_off_is_no_number(root: Tables) -> None:
    with pytest.raises(ConfigError, match=r"clip_selection\.seconds_max: must be a number.*null switches it off"):
        looked_at(root, ["a-000000"], "seconds_max=off")


def test_small_numbers_are_numbers() -> None:
    assert tried(["motion_per_patch_min=1e-6"]) == {"motion_per_patch_min": 1e-6}


def test_the_page_of_what_if_shows_pictures_of_gained_and_lost_clips(root: Tables) -> None:
    encoded = cv2.imencode(".jpg", np.full((90, 160, 3), 128, np.uint8))[1].tobytes()
    root.storage.write("media/one.jpgs", encoded)
    row = {"path": "media/one.jpgs", "offset": 0, "bytes": len(encoded), "frame": 0, "pts_ns": 0, "sharpness": 1.0}
    swap(root, STORYBOARDS, "a-000000", [{"video_id": "video-a", **row}])
    found = looked_at(root, ["a-000000"], "motion_global_mean_min=null", "seconds_max=2.5")
    page = render_what_if(root, found)
    shown = len(found.gained.shown) + len(found.lost.shown)
    assert min(found.gained.clips, found.lost.clips) > 0
    assert page.count("data:image/jpeg") == 3 * shown  # of each window
    (uri,) = root.read(SOURCE_VIDEOS, "a-000000", ["uri"])["uri"].to_pylist()
    assert page.count(f'<p title="{uri}">{uri.rpartition("/")[2]} · ') == shown


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_of_what_if_fits_every_window(root: Tables, layout_faults: Any, width: int) -> None:
    found = looked_at(root, Manifests(root.storage).shards(), "motion_global_mean_min=0.1")
    assert layout_faults(render_what_if(root, found), width) == []
    assert not root.storage.exists(WHAT_IF_PATH)

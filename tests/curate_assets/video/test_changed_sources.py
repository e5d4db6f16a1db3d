"""A file that was replaced since it was probed is neither scanned nor cut under the id of the old one."""

import pytest

from curate_assets.settings.resolve import validated
from curate_assets.video.assets.clip_files import CLIP_FILES, open_cutter
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.scan import SCAN
from curate_assets.video.assets.source_videos import PROBE, SOURCE_VIDEOS, UNITS
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.declarations.stage import Work
from curate_resources.engines.in_process import StageRunner
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import MANIFEST, Manifests, rows_of
from curate_resources.storage.root import Storage
from curate_resources.storage.stored_object import SourceChanged

_MADE = "-f lavfi -i testsrc2=s=96x64:r=25:d=2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p"


@pytest.fixture
def replaced(media, tmp_path):
    """The rows of a video after probing, its file having been replaced then; and what ran the probe."""
    storage = Storage(str(tmp_path / "root"))
    path = media.made(tmp_path / "v.mp4", _MADE)
    add_units(Manifests(storage), str(path), "v", 1, 1 << 30, VIDEO_FILES)
    wanted = frozenset(table.name for stage in (PROBE, SCAN) for table in stage.writes)
    config = validated({"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}})
    runner = StageRunner(
        Plan((PROBE, SCAN), wanted, {MANIFEST.name: MANIFEST, **VIDEO.tables}, config, storage.root, UNITS)
    )

    def probed() -> Unit:
        unit = Unit("v-000000", str(path), {MANIFEST.name: rows_of(Manifests(storage).all())})
        runner.run(0, unit, 1)
        return unit

    unit = probed()
    media.made(tmp_path / "new.mp4", _MADE.replace("testsrc2", "testsrc")).replace(path)
    return unit, runner, probed, Manifests(storage), config


def test_the_scan_fails_until_the_file_is_added_again(replaced):
    unit, runner, probed, manifests, _ = replaced
    old_id = unit.rows[SOURCE_VIDEOS.name]["video_id"][0].as_py()
    runner.run(1, unit, 2)
    for table in SCAN.writes:
        (row,) = unit.rows[table.name].to_pylist()
        assert (row["status"], row["error"]["type"]) == ("failed", "SourceChanged")
        assert "v.mp4 changed since it was probed: `curate add` it again" in row["error"]["message"]
    assert add_units(manifests, unit.source, "v", 1, 1 << 30, VIDEO_FILES).changed_files == 1
    again = probed()
    runner.run(1, again, 2)
    (shots,) = again.rows["shot_signals"].to_pylist()
    assert shots["status"] == "ok" and shots["video_id"] != old_id


def test_no_clip_is_cut_from_another_file(replaced):
    unit, _, _, manifests, config = replaced
    sources = unit.rows[SOURCE_VIDEOS.name]
    clip = {
        "video_id": sources["video_id"][0].as_py(),
        "clip_id": "c",
        "start_frame": 0,
        "end_frame": 25,
        "start_ns": 0,
        "end_ns": 1_000_000_000,
        "status": "ok",
    }
    items = CLIPS.rows_schema.empty_table().from_pylist([clip], schema=CLIPS.rows_schema)
    wanted, prints = frozenset({CLIP_FILES.name}), {CLIP_FILES.name: ["0" * 32]}
    work = Work(items=items, inputs={SOURCE_VIDEOS.name: sources}, wanted=wanted, fingerprints=prints)
    with pytest.raises(SourceChanged):
        open_cutter(config, manifests.storage)(work)

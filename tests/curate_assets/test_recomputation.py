"""What is computed again, and what is not. `computed` counts the items that a stage really worked on."""

import shutil

import pytest

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage import object_stores

CURATED = (
    "source_videos shot_signals motion_signals storyboards clips motion_scores clip_embeddings clip_selection".split()
)


def computed(outcomes) -> dict[str, int]:
    """Items computed by table, over both shards; tables without any left out."""
    totals: dict[str, int] = {}
    for done in outcomes.values():
        totals[done.table] = totals.get(done.table, 0) + done.computed
    return {table: count for table, count in totals.items() if count}


def test_nothing_changed_nothing_is_computed_but_what_failed(copy):
    before = copy.contents()
    versions = {name: copy.tables.version(name) for name in CURATED}
    assert computed(copy.run()) == {"source_videos": 1}  # notes.mp4 failed, and may have been put right
    for name in CURATED:
        assert copy.contents()[name].equals(before[name])
        assert copy.tables.version(name) == versions[name]


def test_trying_failures_again_leaves_everything_else_as_it_is(copy, encode, footage):
    """Also where a setting has changed since: a file that was put right is computed, and nothing but it."""
    before = copy.contents()
    (notes,) = (row for row in before["source_videos"].to_pylist() if row["status"] == "failed")
    own = copy.path.parent / "library"
    shutil.copytree(copy.library, own)
    encode(footage("carphone_pristine.mp4"), own / "a" / "notes.mp4", "-frames:v", "60", "-c:v", "libx264")
    manifest = copy.path / "manifests" / "a-000000.json"
    manifest.write_text(
        manifest.read_text().replace(str(copy.library / "a" / "notes.mp4"), str(own / "a" / "notes.mp4"))
    )
    outcome = computed(copy.run(settings={"clips": {"crop_seconds": 0.1}}, failed_only=True))
    assert outcome["source_videos"] == outcome["shot_signals"] == outcome["clips"] == 1
    after = copy.contents()
    for name in CURATED:
        mended = {row["video_id"] for row in after["source_videos"].to_pylist() if row["uri"].endswith("a/notes.mp4")}
        kept = [row for row in after[name].to_pylist() if row["video_id"] not in mended]
        expected = [row for row in before[name].to_pylist() if row.get("uri") != notes["uri"]]
        assert [{**row, "slot": ""} for row in kept] == [{**row, "slot": ""} for row in expected], name


def test_a_selection_threshold_recomputes_the_selection_only(copy):
    settings = {"clip_selection": {"motion_global_mean_min": 0.5}}
    clips = copy.contents()["clip_selection"].num_rows
    assert computed(copy.run(settings=settings)) == {"source_videos": 1, "clip_selection": clips}
    assert not any(copy.contents()["clip_selection"]["selected"].to_pylist())


def test_another_transition_threshold_recomputes_clips_and_measures_only_new_ones(copy):
    before = set(copy.contents()["motion_scores"]["clip_id"].to_pylist())
    outcome = computed(copy.run(settings={"clips": {"transition_threshold": 0.99}}))
    after = set(copy.contents()["motion_scores"]["clip_id"].to_pylist())
    new = len(after - before)
    assert 0 < new < len(after)
    videos = 4
    assert outcome == {
        "source_videos": 1,
        "clips": videos,
        "motion_scores": new,
        "clip_embeddings": new,
        "clip_selection": new,
    }


def test_another_embedder_recomputes_embeddings_only(copy, tmp_path, tiny_models):
    tiny_models.tiny_clip(tmp_path / "clip")
    settings = {"clip_embeddings": {"backend": "clip", "model": str(tmp_path / "clip")}}
    clips = copy.contents()["clip_embeddings"].num_rows
    assert computed(copy.run(settings=settings)) == {"source_videos": 1, "clip_embeddings": clips}
    assert len(set(copy.contents()["clip_embeddings"]["model_revision"].to_pylist())) == 1


def test_storyboards_change_what_is_made_from_them(copy):
    settings = {"storyboards": {"jpeg_quality": 60}}
    clips = copy.contents()["clip_embeddings"].num_rows
    assert computed(copy.run(settings=settings)) == {
        "source_videos": 1,
        "shot_signals": 4,  # one stage gives all four tables; the items it worked on are the same videos
        "motion_signals": 4,
        "picture_hashes": 4,
        "storyboards": 4,
        "clip_embeddings": clips,
    }


def test_another_prompt_recomputes_captions_only(copy):
    wanted = frozenset({"captions", "clip_files"})
    assert computed(copy.run(wanted)) == {}
    kept = sum(copy.contents()["duplicate_groups"]["keeper"].to_pylist())
    assert computed(copy.run(wanted, {"captions": {"prompt": "What is this?"}})) == {"captions": kept}


def test_where_a_model_runs_recomputes_nothing(copy):
    assert computed(copy.run(settings={"clip_embeddings": {"device": "cpu"}})) == {"source_videos": 1}


def test_a_changed_file_recomputes_its_own_rows(copy, replaced):
    folder, shards = copy.library / "b", copy.shards
    with replaced(folder / "phone.mp4", (folder / "bunny.mp4").read_bytes()[:-10]):
        copy.add()
        outcome = copy.run()
        assert outcome["source_videos/b-000000"].computed == 1
        assert outcome["shot_signals/b-000000"].computed == 1
        assert outcome["shot_signals/a-000000"].computed == 0
        assert outcome["clip_embeddings/a-000000"].computed == 0
        assert copy.shards == shards


def test_a_url_that_is_signed_anew_recomputes_nothing_and_is_read_from_then_on(new_root, library, s3, tmp_path):
    uri = s3.bucket("signed-anew") + "/phone.mp4"
    with open(library / "b" / "phone.mp4", "rb") as content:
        object_stores.write(uri, content)
    root, wanted = new_root(tmp_path), frozenset({"source_videos", "shot_signals"})
    old, new = (object_stores.signed(uri, seconds) for seconds in (60, 90))
    manifests = Manifests(root.storage)
    add_units(manifests, old, "signed", 1, 1 << 40, VIDEO_FILES)
    settings = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}}
    assert computed(root.run(wanted, settings)) == {"source_videos": 1, "shot_signals": 1}
    add_units(manifests, new, "signed", 1, 1 << 40, VIDEO_FILES)
    (unit,) = root.plan(frozenset({"shot_signals"}), settings).units("signed-000000")
    assert unit.rows["source_videos"]["uri"].to_pylist() == [new]  # before `source_videos` is made again
    assert computed(root.run(wanted, settings)) == {}
    assert root.tables.read(SOURCE_VIDEOS)["uri"].to_pylist() == [new]


def test_force_computes_everything(copy):
    outcome = computed(copy.run(frozenset({"clips", "motion_scores"}), force=True))
    assert outcome == {"clips": 4, "motion_scores": copy.contents()["motion_scores"].num_rows}


@pytest.mark.parametrize("name", CURATED)
def test_every_row_says_how_it_ended(finished, name):
    for row in finished.contents()[name].to_pylist():
        assert row["status"] in {"ok", "empty", "failed"}
        assert (row["status"] == "failed") <= (row["error"] is not None)
        assert len(row["fingerprint"]) == 32


def test_a_bad_file_and_a_copy_take_nothing_else_with_them(finished):
    rows = {row["uri"].rsplit("/", 1)[-1]: row for row in finished.contents()["source_videos"].to_pylist()}
    assert rows["notes.mp4"]["status"] == "failed"
    assert "not a readable video" in rows["notes.mp4"]["error"]["message"]
    assert rows["bikes_again.mp4"]["status"] == "empty"
    assert rows["bikes_again.mp4"]["error"]["message"].endswith("/a/bikes.mp4")
    assert {name for name, row in rows.items() if row["status"] == "ok"} == {
        "bikes.mp4",
        "bunny.mp4",
        "bikes_small.mp4",
        "phone.mp4",
    }


def test_duplicates_do_not_depend_on_the_order_of_shards(finished, new_root):
    """The clips of bikes_small.mp4 are those of bikes.mp4, worse; the better ones are kept."""
    from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS, group_duplicates
    from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS, measure_pairs

    from_a = finished.contents()["duplicate_groups"]
    groups = [row for row in from_a.to_pylist() if row["group_size"] > 1]
    assert groups
    assert {row["shard"] for row in groups if row["keeper"]} == {"a-000000"}
    tables = finished.tables
    other = new_root()
    signals = ("shot_signals", "picture_hashes", "storyboards")
    for name in ("source_videos", *signals, "clips", "clip_embeddings", "clip_selection"):
        shutil.copytree(finished.path / "tables" / f"{name}.lance", other.path / "tables" / f"{name}.lance")
    config = CurationConfig()
    for shard in reversed(finished.shards):
        other.tables.swap(DUPLICATE_PAIRS, shard, measure_pairs(other.tables, shard, config.duplicate_pairs))
    other.tables.replace(DUPLICATE_GROUPS, group_duplicates(other.tables, config.duplicate_groups))
    assert other.tables.read(DUPLICATE_GROUPS).equals(tables.read(DUPLICATE_GROUPS))


def test_a_cluster_is_only_started_for_heavy_work(copy):
    """Nothing changed but one file that failed, and a threshold: all of it is done here."""
    from curate_resources.engines.auto_engine import AutoEngine

    class NoCluster:
        def holds(self, plan):
            return True

        def run(self, plan, units):
            raise AssertionError(f"a cluster for {[unit.source for unit in units]}")

    engine = AutoEngine(NoCluster())
    assert computed(copy.run(settings={"clip_selection": {"seconds_max": 1.0}}, engine=engine))["source_videos"] == 1
    with pytest.raises(AssertionError, match=r"bikes\.mp4"):
        copy.run(frozenset({"shot_signals"}), engine=engine, force=True)

"""The same rows, whatever the engine, the layout of its pools, or what happened on the way."""

import signal
import subprocess
import sys

import pytest

from curate_assets.video.graph import VIDEO
from curate_resources.engines.in_process import StageRunner
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.ray_engine import RayEngine
from curate_resources.pipeline.plan import MissingInput

_NOTHING_YET = {"duplicate_pairs", "duplicate_groups", "captions", "clip_files"}


def assert_same(one, other, but=frozenset()):
    mine, theirs = one.contents(), other.contents()
    for name in mine:
        if name not in but:
            assert mine[name].equals(theirs[name]), name


@pytest.mark.deep
def test_two_runs_from_scratch_are_identical_byte_for_byte(finished, new_root):
    again = new_root()
    again.run()
    again.group()
    again.run(frozenset({"captions", "clip_files"}))
    assert_same(finished, again)
    assert finished.media() == again.media()


@pytest.mark.parametrize("layout", ["fused", pytest.param("pooled", marks=pytest.mark.deep)])
def test_ray_gives_the_rows_of_the_in_process_engine(finished, new_root, attached, layout):
    streamed = new_root()
    streamed.run(engine=RayEngine(RayCluster(), layout))
    streamed.group()
    streamed.run(frozenset({"captions", "clip_files"}), engine=RayEngine(RayCluster(), layout))
    assert_same(finished, streamed)
    assert finished.media() == streamed.media()


@pytest.mark.deep
def test_stage_after_stage_through_the_tables_gives_the_same_rows(finished, new_root):
    root = new_root()
    for wanted in (
        {"source_videos"},
        {"storyboards"},
        {"shot_signals"},
        {"motion_signals", "picture_hashes", "clips"},
        {"clip_embeddings"},
        {"motion_scores"},
        {"clip_selection"},
    ):
        root.run(frozenset(wanted))
    assert_same(finished, root, but=_NOTHING_YET)


@pytest.fixture(scope="module")
def long_film(tmp_path_factory, encode, footage):
    """Twenty-five shots in 1250 frames."""
    folder = tmp_path_factory.mktemp("long")
    looped = ("-vf", "loop=loop=4:size=250,setpts=N/25/TB,scale=240:-2", "-c:v", "libx264", "-preset", "ultrafast")
    encode(footage("bikes.mp4"), folder / "film.mp4", *looped)
    return folder


@pytest.mark.deep
def test_clips_are_embedded_while_their_video_is_scanned_and_have_the_same_rows(long_film, new_root):
    streamed, staged = new_root(long_film), new_root(long_film)
    plan = streamed.plan()
    (unit,) = plan.units(streamed.shards[0])
    runner = StageRunner(plan)
    runner.run(0, unit, len(plan.stages))
    settled: list[int] = []
    runner.run(1, unit, len(plan.stages), lambda beginning, clips: settled.append(clips))
    early = unit.kept["clip_embeddings"].num_rows
    assert settled and settled == sorted(settled) and early == settled[-1] > 3  # and the video is not yet split

    done = streamed.run()
    staged.run(mode="batch")
    assert_same(streamed, staged, but=_NOTHING_YET)
    clips = streamed.tables.read(VIDEO.tables["clips"])["status"].to_pylist().count("ok")
    assert clips > early
    assert done[f"clip_embeddings/{streamed.shards[0]}"].computed == clips


def test_an_asset_alone_needs_what_it_is_made_from(new_root):
    with pytest.raises(MissingInput, match=r"split .* needs source_videos"):
        new_root().run(frozenset({"clips"}))
    with pytest.raises(MissingInput, match=r"select .* needs"):  # though no video is known yet to be usable
        new_root().run(frozenset({"source_videos", "clip_selection"}))


_RUN = """
import sys
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize

wanted = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
settings = {"clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}}
plan = VIDEO.plan(wanted, validated(settings), sys.argv[1])
for done in materialize(plan, ["a-000000", "b-000000"], InProcessEngine()):
    print(done.table, flush=True)
"""


def test_a_killed_run_leaves_whole_shards_and_another_completes_them(finished, new_root):
    root = new_root()
    run = subprocess.Popen([sys.executable, "-c", _RUN, str(root.path)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    for line in run.stdout:
        if line.strip() == "clips":  # the first shard is half committed
            run.send_signal(signal.SIGKILL)
            break
    run.wait()
    for name, rows in root.contents().items():
        for shard in set(rows["shard"].to_pylist()):
            table = VIDEO.tables[name]
            assert root.tables.read(table, shard).equals(finished.tables.read(table, shard)), (name, shard)
    root.run()
    assert_same(finished, root, but=_NOTHING_YET)
    leftovers = list(root.path.rglob("*.partial"))
    assert all("storyboards" in str(path) for path in leftovers)  # only what the killed decode was writing

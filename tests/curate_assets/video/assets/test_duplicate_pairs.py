"""`duplicate_pairs`: the pairs of all shards are those of one run over everything, whatever happened on the way."""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS, group_duplicates
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS, GATHER, measure_pairs, measured_pairs
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.duplicates.selected_clips import SelectedClips
from curate_assets.video.duplicates.valid_pairs import valid_pairs
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.table import Row, Table
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.plan import MissingInput
from curate_resources.pipeline.run import materialize
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.orphans import orphans
from gpu_kernels.errors import UserError

SHARDS, CLIPS_EACH, DIMENSIONS, SAMPLES = tuple("abcdef"), 8, 64, 20
END_NS = SAMPLES * 100_000_000 - 60_000_000
"""The last frame of a clip is shown for a shorter time than lies between two samples."""
CONFIG = CurationConfig().duplicate_pairs


def put(tables: Tables, table: Table, shard: str, rows: Iterable[Row]) -> None:
    whole = [{"shard": shard, "status": "ok", "fingerprint": "0", **row} for row in rows]
    tables.swap(table, shard, pa.Table.from_pylist(whole, schema=table.rows_schema))


def fill(tables: Tables, shard: str, state: int = 0) -> None:
    """A shard with clips near to, and the same as, some of other shards; another state has other ones."""
    subjects = np.random.default_rng(0).normal(size=(6, DIMENSIONS))
    dice = np.random.default_rng([state, *shard.encode()])
    names = [f"{shard}{state}{number}" for number in range(CLIPS_EACH)]
    if shard in "ce":
        names[0] = "in-both-c-and-e"
    vectors = subjects[dice.integers(0, 6, CLIPS_EACH)] + 0.3 * dice.normal(size=(CLIPS_EACH, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents = dice.integers(0, 40, CLIPS_EACH).tolist()
    span = {"start_frame": 0, "end_frame": SAMPLES, "start_ns": 0, "end_ns": END_NS}
    put(tables, CLIPS, shard, ({"video_id": n, "clip_id": n, **span} for n in names))
    put(tables, CLIP_SELECTION, shard, ({"video_id": n, "clip_id": n, "selected": n[-1] != "7"} for n in names))
    made = {"model": "m", "model_revision": "1", "fingerprint": f"{shard}{state}"}
    embedded = zip(names, vectors, strict=True)
    put(tables, CLIP_EMBEDDINGS, shard, ({"video_id": n, "clip_id": n, "vector": v, **made} for n, v in embedded))
    seen = ({"video_id": name, **pictures(content, dice)} for name, content in zip(names, contents, strict=True))
    put(tables, PICTURE_HASHES, shard, (row | {"fingerprint": f"{shard}{state}"} for row in seen))


def pictures(content: int, dice: np.random.Generator) -> Row:
    """Two seconds of something that moves; some contents are also shown by another one, with a few bits changed, or so
    many that bands miss most of its moments."""
    film = np.random.default_rng(content // 2)
    hashes = film.integers(0, 256, (SAMPLES, 3, 32), dtype=np.uint8)
    greys = film.integers(0, 256, (SAMPLES, 9, 16), dtype=np.uint8)
    hashes[..., content % 2 * 4] ^= np.uint8(15)
    if content % 6 == 1:
        hashes ^= np.packbits(film.random((SAMPLES, 3, 256)) < 0.19, axis=-1)
    return {
        "pts_ns": np.arange(SAMPLES) * 100_000_000,
        "frames": np.arange(SAMPLES),
        "hashes": hashes.tobytes(),
        "greys": greys.tobytes(),
        "frame_digests": np.full(SAMPLES, content).tobytes(),
    }


def remove(tables: Tables, shard: str) -> None:
    for table in (CLIPS, CLIP_SELECTION, CLIP_EMBEDDINGS, PICTURE_HASHES):
        put(tables, table, shard, [])


def measure(tables: Tables, shard: str, segment_clips: int) -> bool:
    """Returns whether anything had to be measured."""
    if measured_pairs(tables, shard, CONFIG) is not None:
        return False
    tables.swap(DUPLICATE_PAIRS, shard, measure_pairs(tables, shard, CONFIG, segment_clips))
    return True


def pairs_and_groups(tables: Tables) -> tuple[set[tuple[object, ...]], pa.Table]:
    """The pairs that hold, and the groups."""
    clips = SelectedClips.of(tables)
    names, pairs = clips.names.to_pylist(), valid_pairs(tables, clips)
    rows = zip(*(values.tolist() for values in vars(pairs).values()), strict=True)
    found = {(*sorted((names[a], names[b])), *rest) for a, b, *rest in rows}
    groups = group_duplicates(tables, CurationConfig().duplicate_groups)
    return found, DUPLICATE_GROUPS.joined(groups)


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[tuple[object, ...]], pa.Table]:
    """What one run over everything gives, without an index."""
    tables = Tables(Storage(str(tmp_path_factory.mktemp("at_once"))))
    for shard in SHARDS:
        fill(tables, shard)
    for shard in SHARDS:
        measure(tables, shard, 10_000)
    return pairs_and_groups(tables)


def test_planted_pairs_are_found(at_once: tuple[set[tuple[object, ...]], pa.Table]) -> None:
    pairs, groups = at_once
    assert ("c/in-both-c-and-e", "e/in-both-c-and-e") in {pair[:2] for pair in pairs if pair[2] == 0}
    assert {pair[2] for pair in pairs} == {0, 1, 2}
    assert not {name for pair in pairs for name in pair[:2] if str(name).endswith("07")}  # not selected
    removed = groups.filter(pa.compute.invert(groups["keeper"]))
    assert removed.num_rows and set(removed["tier"].to_pylist()) == {"identical", "picture"}
    assert groups["alike_id"].null_count < groups.num_rows


def test_a_span_ends_with_its_clip(tmp_path: Path) -> None:
    tables = Tables(Storage(str(tmp_path)))
    for shard in "ab":
        fill(tables, shard)
    rows = [row for row in measure_pairs(tables, "b", CONFIG).to_pylist() if row["tier"] == "picture"]
    assert {row[f"end_{side}_ns"] for row in rows for side in "ab"} == {END_NS}
    assert {row[f"share_{side}"] for row in rows for side in "ab"} == {1.0}


def story(dice: random.Random) -> Iterator[tuple[str, str]]:
    """Shards come in any order, one of them late; some come in an earlier state first, or leave and come again."""
    steps = [[("fill", shard), ("measure", shard)] for shard in SHARDS]
    steps.append([("other", "b"), ("measure", "b"), ("fill", "b"), ("measure", "b")])
    steps.append([("remove", "d"), ("measure", "d"), ("fill", "d"), ("measure", "d")])
    steps.append([("measure", "a")])
    while steps:
        own = dice.choice(steps)
        yield own.pop(0)
        steps = [each for each in steps if each]
    yield from (step for shard in ("b", "d") for step in (("fill", shard), ("measure", shard)))


@pytest.mark.parametrize("segment_clips", [10_000, 12], ids=["directly", "segments"])
@pytest.mark.parametrize("seed", range(2))
def test_any_order_gives_the_pairs_and_groups_of_one_run(
    tmp_path: Path, at_once: tuple[set[tuple[object, ...]], pa.Table], seed: int, segment_clips: int
) -> None:
    tables = Tables(Storage(str(tmp_path)))
    do = {"fill": fill, "other": lambda tables, shard: fill(tables, shard, 1), "remove": remove}
    for step, shard in story(random.Random(seed)):
        if step in do:
            do[step](tables, shard)
        else:
            measure(tables, shard, segment_clips)
    pairs, groups = pairs_and_groups(tables)
    assert (pairs, groups) == at_once
    assert bool(list((tmp_path / "indexes").rglob("*.safetensors"))) == (segment_clips < 10_000)


@pytest.mark.parametrize("segment_clips", [10_000, 12], ids=["directly", "segments"])
def test_shards_that_are_measured_at_the_same_time_miss_no_pair(
    tmp_path: Path, at_once: tuple[set[tuple[object, ...]], pa.Table], segment_clips: int
) -> None:
    tables = Tables(Storage(str(tmp_path)))

    def come(shard: str) -> None:
        fill(tables, shard)
        measure(tables, shard, segment_clips)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come, SHARDS))
    pairs, groups = pairs_and_groups(tables)
    assert (pairs, groups) == at_once


_KILLED = """
import os, signal, sys
from curate_resources.storage.root import Storage
from curate_resources.tables import segments
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.orphans import orphans
from gpu_kernels.errors import UserError
sys.path.insert(0, {folder!r})
from test_duplicate_pairs import SHARDS, fill, measure

tables = Tables(Storage({root!r}))
for shard in SHARDS:
    fill(tables, shard)
measure(tables, "a", 12)
swap, left = Tables.swap, [{commits}]

def dies(*given):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return swap(*given)

Tables.swap = dies
for shard in SHARDS:
    measure(tables, shard, 12)
"""


def test_a_killed_run_leaves_nothing_wrong_behind(
    tmp_path: Path, at_once: tuple[set[tuple[object, ...]], pa.Table]
) -> None:
    script = _KILLED.format(folder=str(Path(__file__).parent), root=str(tmp_path), commits=2)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    tables = Tables(Storage(str(tmp_path)))
    for shard in reversed(SHARDS):
        measure(tables, shard, 12)
    pairs, groups = pairs_and_groups(tables)
    assert (pairs, groups) == at_once


def test_what_was_compared_is_not_compared_again(
    tmp_path: Path, at_once: tuple[set[tuple[object, ...]], pa.Table]
) -> None:
    tables = Tables(Storage(str(tmp_path)))
    for shard in SHARDS[:-1]:
        fill(tables, shard)
        assert measure(tables, shard, 10_000)
    fill(tables, SHARDS[-1])
    assert [shard for shard in SHARDS if measure(tables, shard, 10_000)] == [SHARDS[-1]]
    assert pairs_and_groups(tables) == at_once
    other = CONFIG.model_copy(update={"radius_bits": 40})
    assert not any(measured_pairs(tables, shard, other) for shard in SHARDS)
    fill(tables, "b", 1)
    remove(tables, "c")
    assert [shard for shard in SHARDS if measure(tables, shard, 10_000)] == ["b", "c"]
    shutil.rmtree(tables.uri(DUPLICATE_PAIRS.name))
    assert measured_pairs(tables, "a", CONFIG) is None


def test_a_shard_that_was_something_else_in_the_meantime_is_compared_again(
    tmp_path: Path, at_once: tuple[set[tuple[object, ...]], pa.Table]
) -> None:
    """It is as it was when it was compared, but what came in between has not met it like this."""
    tables = Tables(Storage(str(tmp_path)))
    fill(tables, "a")
    fill(tables, "b")
    for shard in "ab":
        measure(tables, shard, 10_000)
    fill(tables, "a", 1)
    remove(tables, "b")
    for shard in SHARDS[2:]:
        fill(tables, shard)
        measure(tables, shard, 10_000)
    fill(tables, "a")
    fill(tables, "b")
    for shard in "ab":
        assert measure(tables, shard, 10_000)
    assert pairs_and_groups(tables) == at_once


def test_with_force_everything_is_compared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, config, asked = Tables(Storage(str(tmp_path))), CurationConfig(), list[str]()

    def pairs(tables: Tables, shard: str, *given: Any) -> pa.Table:
        asked.append(shard)
        return measure_pairs(tables, shard, *given)

    monkeypatch.setattr("curate_assets.video.assets.duplicate_pairs.measure_pairs", pairs)
    fill(tables, "a")
    for force in (False, False, True):
        GATHER.materialize(tables, config, "a", force)
    assert asked == ["a", "a"]


def test_a_segment_that_is_older_than_a_shard_is_not_believed(tmp_path: Path) -> None:
    """The rows of a shard change without being measured again: others must not meet its clips as they were."""
    tables = Tables(Storage(str(tmp_path)))
    for shard in SHARDS:
        fill(tables, shard)
        measure(tables, shard, 1)
    fill(tables, "a", 1)
    for shard in SHARDS[1:]:
        tables.swap(DUPLICATE_PAIRS, shard, measure_pairs(tables, shard, CONFIG, 1))
    now = {row["clip_id"] for row in tables.read(CLIPS, "a", ["clip_id"]).to_pylist()}
    rows = tables.read(DUPLICATE_PAIRS, list(SHARDS[1:])).to_pylist()
    of_a = {row[f"clip_{side}"] for row in rows for side in "ab" if row[f"shard_{side}"] == "a"}
    assert of_a and of_a <= now


def test_segments_that_nothing_needs_are_found(
    tmp_path: Path, at_once: tuple[set[tuple[object, ...]], pa.Table]
) -> None:
    """Those of shards as they were, of an earlier floor, of earlier code and of a tier that is off; and what is needed
    stays."""
    tables, config = Tables(Storage(str(tmp_path))), CurationConfig()
    earlier = config.duplicate_pairs.model_copy(update={"floor_similarity": 0.95})
    for shard in SHARDS:
        fill(tables, shard, 1)
        measure_pairs(tables, shard, earlier, 12)
    tables.storage.write("indexes/clip_vectors-0/pivots.npz", b"once there was one for all segments")
    indexed = [each for ending in ("safetensors", "npz") for each in (tmp_path / "indexes").rglob(f"*.{ending}")]
    replaced = {str(each.relative_to(tmp_path)) for each in indexed}
    for shard in SHARDS:
        fill(tables, shard)
    for shard in SHARDS:
        measure(tables, shard, 12)
    found = list(orphans(tables.storage, VIDEO.tables, 0, VIDEO.unneeded(tables, config)))
    assert {each.path for each in found} == replaced and all(each.bytes for each in found)
    for each in found:
        tables.storage.delete(each.path)
    for shard in SHARDS:
        tables.swap(DUPLICATE_PAIRS, shard, measure_pairs(tables, shard, CONFIG, 12))
    assert pairs_and_groups(tables) == at_once
    kinds = {path.parent.name.partition("-")[0] for path in (tmp_path / "indexes").rglob("*.safetensors")}
    assert kinds == {"clip_contents", "clip_pictures", "clip_vectors"}
    off = CurationConfig.model_validate({"duplicate_pairs": {"picture": False}})
    assert {each.path.split("/")[1] for each in VIDEO.unneeded(tables, off)} == {"clip_pictures"}


def test_a_tier_that_is_off_reads_nothing(tmp_path: Path) -> None:
    tables = Tables(Storage(str(tmp_path)))
    for shard in SHARDS:
        fill(tables, shard)
    shutil.rmtree(tables.uri("clip_embeddings"))
    off = CONFIG.model_copy(update={"meaning": False})
    assert set(measure_pairs(tables, "c", off)["tier"].to_pylist()) == {"identical", "picture"}
    off = off.model_copy(update={"picture": False})
    assert set(measure_pairs(tables, "c", off)["tier"].to_pylist()) == {"identical"}
    shutil.rmtree(tables.uri("picture_hashes"))
    assert measure_pairs(tables, "c", off.model_copy(update={"identical": False})).num_rows == 0


def test_a_shard_that_was_not_measured_is_not_taken_for_one_without_copies(tmp_path: Path) -> None:
    tables = Tables(Storage(str(tmp_path)))
    fill(tables, "a")
    put(tables, SOURCE_VIDEOS, "a", [{"video_id": "a00", "uri": "/a00.mp4"}])
    for gone in (CLIP_SELECTION, PICTURE_HASHES, CLIP_EMBEDDINGS):
        kept = tables.read(gone, "a")
        tables.swap(gone, "a", gone.empty())
        remedy = f"duplicate_pairs of shard a needs {gone.name}.*'[+]{gone.name}' --shard a"
        with pytest.raises(MissingInput, match=remedy):
            GATHER.materialize(tables, CurationConfig(), "a")
        tables.swap(gone, "a", kept)
    GATHER.materialize(tables, CurationConfig(), "a")


def test_a_shard_without_selected_clips_has_no_pairs_and_needs_nothing(tmp_path: Path) -> None:
    tables = Tables(Storage(str(tmp_path)))
    put(tables, SOURCE_VIDEOS, "a", [{"uri": "/broken.mp4", "status": "failed"}])
    put(tables, CLIP_SELECTION, "b", [{"video_id": "b", "clip_id": "b", "selected": False}])
    for shard in "ab":
        GATHER.materialize(tables, CurationConfig(), shard)
    with pytest.raises(UserError, match="no shard 'c'"):  # of which there is nothing at all
        GATHER.materialize(tables, CurationConfig(), "c")
    assert tables.read(DUPLICATE_PAIRS).num_rows == 0


def test_pairs_of_meaning_are_those_above_the_floor(copy) -> None:
    """Of real vectors, against numpy."""
    config = CurationConfig.model_validate({"duplicate_pairs": {"floor_similarity": 0.6, "picture": False}})
    clips = SelectedClips.of(copy.tables)
    rows = {(row["shard"], row["clip_id"]): row["vector"] for row in copy.tables.read(CLIP_EMBEDDINGS).to_pylist()}
    keys = [(row["shard"], row["clip_id"]) for row in clips.rows.to_pylist()]
    vectors = np.array([rows[key] for key in keys], np.float64)
    near = np.argwhere(np.triu(vectors @ vectors.T >= 0.6, 1)).tolist()
    expected = {frozenset((keys[i], keys[j])): vectors[i] @ vectors[j] for i, j in near}
    assert expected
    for shards in (copy.shards, copy.shards[::-1]):
        found = {}
        for shard in shards:
            for row in measure_pairs(copy.tables, shard, config.duplicate_pairs).to_pylist():
                pair = (row["shard_a"], row["clip_a"]), (row["shard_b"], row["clip_b"])
                assert shard in (pair[0][0], pair[1][0])
                if row["tier"] == "meaning":
                    found[frozenset(pair)] = row["similarity"]
        assert found.keys() == expected.keys()
        assert max(abs(found[pair] - expected[pair]) for pair in found) < 1e-5


def test_clips_that_were_cut_anew_have_the_pairs_of_one_run(copy) -> None:
    """One shard gets other cuts, later than the other one was measured; then only that one is measured."""
    again, other = copy.shards
    tables, before = copy.tables, pairs_and_groups(copy.tables)
    cuts = {"clips": {"min_seconds": 0.9, "crop_seconds": 0.1}}
    assert list(materialize(copy.plan(settings=cuts), [again], InProcessEngine(), "auto"))
    assert measured_pairs(tables, other, CONFIG) is not None
    assert measured_pairs(tables, again, CONFIG) is None
    tables.swap(DUPLICATE_PAIRS, again, measure_pairs(tables, again, CONFIG))
    incremental = pairs_and_groups(tables)
    assert incremental != before and any(tables.read(DUPLICATE_PAIRS, again)["tier"].to_pylist())
    tables.replace(DUPLICATE_PAIRS, {shard: measure_pairs(tables, shard, CONFIG) for shard in copy.shards})
    assert pairs_and_groups(tables) == incremental


@pytest.mark.deep
def test_segments_in_a_bucket_whose_store_fails_now_and_then(
    s3: Any, at_once: tuple[set[tuple[object, ...]], pa.Table]
) -> None:
    tables = Tables(Storage(f"{s3.bucket('segments')}/root"))
    for shard in SHARDS:
        fill(tables, shard)
    s3.proxy.share = 0.1
    for shard in SHARDS:
        tables.swap(DUPLICATE_PAIRS, shard, measure_pairs(tables, shard, CONFIG, 12))
    assert measured_pairs(tables, SHARDS[0], CONFIG) is not None
    s3.proxy.share = 0.0
    assert sum(s3.proxy.met.values()) > 10
    assert any(name.endswith(".safetensors") for name in tables.storage.files("indexes/clip_pictures"))
    assert pairs_and_groups(tables) == at_once

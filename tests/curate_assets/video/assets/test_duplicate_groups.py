"""Which clips are removed, and which is kept, on planted pairs."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.graph.shard_checks import Shard
from curate_assets.settings.resolve import CurationConfig, validated
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import CHECKS, DUPLICATE_GROUPS, GATHER, group_duplicates
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS, measure_pairs
from curate_assets.video.assets.duplicate_pairs import GATHER as PAIRS
from curate_assets.video.assets.measurements.technical_quality import TECHNICAL_QUALITY
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.duplicates.selected_clips import MixedModels
from curate_assets.video.graph import VIDEO
from curate_assets.video.named_vectors import selected_parts, stored_vectors
from curate_resources.declarations.table import Row, Table
from curate_resources.pipeline.plan import MissingInput
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.tiers import DuplicatePairsConfig
from gpu_kernels.shots.splitting import SECOND

QUALITIES: dict[str, dict[str, Any]] = {"a": {}, "b": {}, "c": {}, "d": {}, "e": {}}
"""Clips of one shard each, of the same quality; of two that are equal the one with the smaller id is better."""


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(Storage(str(tmp_path)))


def put(tables: Tables, table: Table, shard: str, *rows: Row) -> None:
    whole = [{"shard": shard, "status": "ok", "fingerprint": "1", **row} for row in rows]
    tables.swap(table, shard, pa.Table.from_pylist(whole, schema=table.rows_schema))


def fill(tables: Tables, **clips: dict[str, Any]) -> None:
    """A shard for each clip, with what is chosen by."""
    for name, own in clips.items():
        key = {"video_id": name, "clip_id": name}
        size = {"width": own.get("width", 640), "height": own.get("height", 360), "bytes": own.get("bytes", 1000)}
        put(tables, SOURCE_VIDEOS, name, {**key, "uri": name, **size, "duration_ns": SECOND})
        span = {"start_frame": 0, "end_frame": 9, "start_ns": 0, "end_ns": own.get("seconds", 1) * SECOND}
        put(tables, CLIPS, name, {**key, **span})
        put(tables, CLIP_SELECTION, name, {**key, "selected": True})
        put(tables, STORYBOARDS, name, *({**key, "frame": f, "sharpness": own.get("sharp", 1.0)} for f in (0, 5)))
        put(tables, STORYBOARDS, name, {**key, "frame": 5, "sharpness": own.get("sharp", 1.0)})
        samples = {"frames": [0, 3, 6, 9, 12], "picture_shares": bytes([*own.get("shown", [255] * 3), 255, 255])}
        put(tables, PICTURE_HASHES, name, key | samples)
        put(tables, CLIP_EMBEDDINGS, name, {**key, "model": "m", "model_revision": "1", "vector": [1.0, 0.0]})
        if "noise" in own:
            put(tables, TECHNICAL_QUALITY, name, {**key, "noise": own["noise"], "blockiness": 1.0})


def pair(a: str, b: str, tier: str = "picture", **about: Any) -> Row:
    ends = {"shard_a": a, "clip_a": a, "shard_b": b, "clip_b": b, "measured_a": "1", "measured_b": "1"}
    verdict = None if tier == "meaning" else "copy"
    return {
        **ends,
        "tier": tier,
        "span": 0,
        "similarity": 0.9,
        "share_a": 1.0,
        "share_b": 1.0,
        "verdict": verdict,
    } | about


def kept(tables: Tables, *pairs: Row, **settings: Any) -> dict[str, str]:
    """By clip, the one that is kept of its group."""
    put(tables, DUPLICATE_PAIRS, "a", *pairs)
    return {row["clip_id"]: row["keeper_clip_id"] for row in grouped(tables, **settings)}


def grouped(tables: Tables, **settings: Any) -> list[Row]:
    config = validated({"duplicate_groups": settings})
    rows = group_duplicates(tables, config.duplicate_groups)
    tables.replace(DUPLICATE_GROUPS, rows)
    shard = Shard("", tables, config, VIDEO.units)
    assert not [found for check in CHECKS for found in check.judge(shard).problems]
    return DUPLICATE_GROUPS.joined(rows).to_pylist()


def test_a_chain_of_small_changes_does_not_join_what_differs(tables: Tables) -> None:
    fill(tables, **QUALITIES)
    chain = [pair("a", "b"), pair("b", "c"), pair("c", "d"), pair("d", "e")]
    assert kept(tables, *chain) == {"a": "a", "b": "a", "c": "c", "d": "c", "e": "e"}
    assert kept(tables, *chain, max_links=2) == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "d"}


def test_a_removed_clip_names_its_keeper_and_the_strictest_evidence(tables: Tables) -> None:
    fill(tables, a={}, b={"width": 1280})
    put(tables, DUPLICATE_PAIRS, "a", pair("a", "b", similarity=0.97), pair("a", "b", "identical", similarity=1.0))
    removed, keeper = grouped(tables)
    assert (removed["clip_id"], keeper["clip_id"], removed["keeper"], keeper["keeper"]) == ("a", "b", False, True)
    assert (removed["group_id"], removed["keeper_shard"], removed["keeper_clip_id"]) == ("b/b", "b", "b")
    assert (removed["tier"], removed["similarity"], removed["share"]) == ("identical", 1.0, 1.0)
    assert (keeper["tier"], keeper["similarity"], keeper["group_size"]) == (None, None, 2)
    removed, _ = grouped(tables, tiers=["picture"])
    assert (removed["tier"], removed["similarity"]) == ("picture", pytest.approx(0.97))


def test_a_piece_goes_and_what_it_is_a_piece_of_stays(tables: Tables) -> None:
    fill(tables, a={"width": 1280}, b={"seconds": 10})
    piece = pair("a", "b", share_a=1.0, share_b=0.1)
    assert kept(tables, piece) == {"a": "a", "b": "b"}  # the piece is the better one: both stay
    fill(tables, a={"width": 320})
    assert kept(tables, piece) == {"a": "b", "b": "b"}
    assert kept(tables, piece | {"share_a": 0.7}) == {"a": "a", "b": "b"}
    assert kept(tables, piece | {"share_a": 0.7}, min_share=0.6) == {"a": "b", "b": "b"}


def test_verdicts_and_tiers_decide_without_measuring_again(tables: Tables) -> None:
    fill(tables, a={}, b={}, c={})
    pairs = pair("a", "b", verdict="undecidable"), pair("a", "c", "meaning", similarity=0.95)
    assert set(kept(tables, *pairs).values()) == {"a", "b", "c"}
    assert kept(tables, *pairs, verdicts=["copy", "undecidable"])["b"] == "a"
    assert kept(tables, *pairs, tiers=["meaning"]) == {"a": "a", "b": "b", "c": "a"}
    assert kept(tables, *pairs, tiers=["meaning"], min_similarity=0.96)["c"] == "c"
    same = pair("a", "b", "identical", similarity=1.0), pair("a", "c")
    assert kept(tables, *same, verdicts=["undecidable"]) == {"a": "a", "b": "a", "c": "c"}  # of the picture tier only


def test_clips_of_one_meaning_are_shown_and_stay(tables: Tables) -> None:
    fill(tables, a={}, b={}, c={})
    put(tables, DUPLICATE_PAIRS, "a", pair("a", "b", "meaning", similarity=0.95))
    a, b, c = grouped(tables)
    assert all(row["keeper"] for row in (a, b, c))
    assert [(row["alike_id"], row["alike_size"]) for row in (a, b, c)] == [("a/a", 2), ("a/a", 2), (None, 1)]
    assert (a["alike_similarity"], b["alike_similarity"]) == (None, pytest.approx(0.95))


@pytest.mark.parametrize(
    ("better", "keep_by"),
    [
        ({"width": 1280}, ["resolution"]),
        ({"bytes": 2000}, ["resolution", "bitrate"]),
        ({"noise": 1.0}, ["technical_quality", "resolution"]),
        ({"seconds": 2}, ["resolution", "bitrate", "length"]),
        ({"sharp": 2.0}, ["resolution", "bitrate", "length", "sharpness"]),
    ],
)
def test_the_best_is_kept_by_what_is_asked_for(tables: Tables, better: dict[str, Any], keep_by: list[str]) -> None:
    fill(tables, a={"noise": 5.0}, b={"noise": 5.0} | better)
    assert kept(tables, pair("a", "b"), keep_by=keep_by) == {"a": "b", "b": "b"}
    assert kept(tables, pair("a", "b"), keep_by=[]) == {"a": "a", "b": "a"}  # then by id


def test_what_fills_its_frame_is_kept_before_a_recording_of_it_in_a_window(tables: Tables) -> None:
    fill(tables, a={"width": 1920}, b={}, c={"width": 320})
    recorded = pair("a", "b", window="a"), pair("a", "c", window="a"), pair("b", "c")
    assert kept(tables, *recorded) == {"a": "b", "b": "b", "c": "b"}
    assert kept(tables, *recorded, keep_by=["resolution"]) == {"a": "a", "b": "a", "c": "a"}
    assert kept(tables, pair("a", "b", window="both")) == {"a": "a", "b": "a", "c": "c"}
    assert kept(tables, pair("a", "b", window="a", verdict="same_static_picture"), pair("a", "b")) == {
        "a": "a",
        "b": "a",
        "c": "c",
    }  # what is no copy says nothing of it


def test_pixels_of_black_bars_do_not_count(tables: Tables) -> None:
    bars = 255 * 3 // 4
    fill(tables, a={"height": 480, "shown": [bars, 255, bars]}, b={}, c={"height": 300})
    copies = pair("a", "b"), pair("a", "c"), pair("b", "c")
    assert kept(tables, *copies) == {"a": "b", "b": "b", "c": "b"}
    fill(tables, a={"width": 960, "height": 720, "shown": [bars, bars, 255]})  # more of the picture, too
    assert kept(tables, *copies) == {"a": "a", "b": "a", "c": "a"}
    fill(tables, a={"height": 480, "shown": [255, bars, 255]})  # one sample tells nothing of the clip
    assert kept(tables, *copies) == {"a": "a", "b": "a", "c": "a"}


def test_a_pair_counts_only_while_both_are_what_it_was_measured_on(tables: Tables) -> None:
    fill(tables, a={}, b={}, c={})
    assert kept(tables, pair("a", "b", measured_b="0"), pair("a", "c")) == {"a": "a", "b": "b", "c": "a"}
    put(tables, CLIP_SELECTION, "c", {"video_id": "c", "clip_id": "c", "selected": False})
    assert kept(tables, pair("a", "c")) == {"a": "a", "b": "b"}


def test_shards_of_different_models_are_named(tables: Tables) -> None:
    fill(tables, a={}, b={}, c={})
    key = {"video_id": "c", "clip_id": "c"}
    put(tables, CLIP_EMBEDDINGS, "c", {**key, "model": "n", "model_revision": "1", "vector": [1.0, 0.0]})
    with pytest.raises(MixedModels, match=r"m@1 in 2 shards, such as a; n@1 in 1 shards, such as c"):
        measure_pairs(tables, "a", DuplicatePairsConfig(picture=False))


def test_vectors_of_several_lengths_by_one_model_are_said_and_compared_with_none(tables: Tables) -> None:
    fill(tables, a={}, b={})
    key = {"video_id": "b", "clip_id": "b", "model": "m", "model_revision": "1"}
    put(tables, CLIP_EMBEDDINGS, "b", {**key, "vector": [1.0, 0.0, 0.0]})
    config = DuplicatePairsConfig(picture=False)
    for compared in (
        lambda: measure_pairs(tables, "a", config),
        lambda: measure_pairs(tables, "a", config, segment_clips=1),
        lambda: stored_vectors(tables),
        lambda: [*selected_parts(tables)],
    ):
        with pytest.raises(MixedModels, match=r"have 2 and 3 numbers.*under a new clip_embeddings\.revision"):
            compared()


def test_remedies_name_the_variant_that_is_read(tables: Tables) -> None:
    fill(tables, a={}, b={})
    seen = tables.under({CLIP_EMBEDDINGS.name: "clip_embeddings_b"})
    config = CurationConfig.model_validate({"duplicate_pairs": {"identical": False, "picture": False}})
    with pytest.raises(MissingInput, match=r"needs clip_embeddings_b, .* '\+clip_embeddings_b' --shard a"):
        PAIRS.materialize(seen, config, "a")
    for shard in "ab":
        key = {"video_id": shard, "clip_id": shard}
        put(seen, CLIP_EMBEDDINGS, shard, {**key, "model": shard, "model_revision": "1", "vector": [1.0, 0.0]})
    with pytest.raises(MixedModels, match=r"--select clip_embeddings_b` without --shard"):
        PAIRS.materialize(seen, config, "a")


def test_a_tier_that_removes_has_to_be_measured() -> None:
    with pytest.raises(ConfigError, match=r"meaning, which duplicate_pairs\.meaning switches off"):
        validated({"duplicate_groups": {"tiers": ["meaning"]}, "duplicate_pairs": {"meaning": False}})
    with pytest.raises(ConfigError, match=r"below duplicate_pairs\.floor_similarity"):
        validated({"duplicate_groups": {"min_similarity": 0.5}})


def test_clips_that_were_never_compared_do_not_pass_for_unique(tables: Tables) -> None:
    fill(tables, a={}, b={})
    config = CurationConfig.model_validate({"duplicate_pairs": {"picture": False}})
    with pytest.raises(MissingInput, match=r"duplicate_groups needs duplicate_pairs.*--select duplicate_pairs"):
        GATHER.materialize(tables, config)
    PAIRS.materialize(tables, config, "a")
    assert GATHER.materialize(tables, config)[1]["shards_not_compared"] == ["b"]
    PAIRS.materialize(tables, config, "b")
    assert GATHER.materialize(tables, config)[1]["shards_not_compared"] == []

"""`curate duplicates show`: groups and the evidence of their pairs, for people and for programs."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS, group_duplicates
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_cli.app import app
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.tiers import DuplicateGroupsConfig
from gpu_kernels.shots.splitting import SECOND


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips: `b` is a faster piece of `a`, and `c` is like `a`."""
    tables = Tables(Storage(str(tmp_path_factory.mktemp("root"))))

    def put(table, *rows):
        whole = [{"shard": "s", "status": "ok", "fingerprint": "1", **row} for row in rows]
        tables.swap(table, "s", pa.Table.from_pylist(whole, schema=table.rows_schema))

    clips = [{"video_id": name, "clip_id": name} for name in "abc"]
    put(CLIP_SELECTION, *({**clip, "selected": True} for clip in clips))
    put(SOURCE_VIDEOS, *({"video_id": name, "uri": f"/v/{name}.mp4"} for name in "abc"))
    ends = {"shard_a": "s", "clip_a": "a", "shard_b": "s", "clip_b": "b", "measured_a": "a", "measured_b": "b"}
    times = {"start_a_ns": SECOND, "end_a_ns": 3 * SECOND, "start_b_ns": 0, "end_b_ns": 4 * SECOND}
    how = {"speed": 2.0, "view": "a_centre_80", "mirrored": True, "window": "b"}
    how |= {"motion_correlation": 0.9, "verdict": "copy"}
    span = {**ends, **times, **how, "tier": "picture", "span": 0, "similarity": 0.9, "share_a": 0.2, "share_b": 1.0}
    alike = {**ends, "clip_b": "c", "measured_b": "c", "tier": "meaning", "span": 0, "similarity": 0.95}
    put(DUPLICATE_PAIRS, span, {**alike, "share_a": 1.0, "share_b": 1.0})
    tables.replace(DUPLICATE_GROUPS, group_duplicates(tables, DuplicateGroupsConfig()))
    return Path(tables.storage.root)


def shown(root: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["duplicates", "show", *arguments, "--root", str(root)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_groups_say_what_is_removed_and_by_which_span(root: Path) -> None:
    said = shown(root)
    assert "s/a is kept: 2 clips" in said and "/v/b.mp4  picture 0.900" in said
    how = "speed 2.00, mirrored, the other in a window, a_centre_80, motion 0.90"
    assert f"1.0–3.0 s is 0.0–4.0 s, copy, 20% and 100% of them, {how}" in said
    assert "s/c" not in said and "has changed" not in said
    lines = [line.strip() for line in said.splitlines()]
    assert [line.split()[0] for line in lines] == ["s/a", "s/b", "picture"]  # the evidence stands below what it removes
    assert shown(root, "--tier", "identical") == "No clip is removed by identical.\n"
    assert "s/c is kept: 1 clip\n" in shown(root, "c")
    assert "Those that are alike in meaning are in `curate report`" in shown(root, "--tier", "meaning")


def test_groups_that_are_not_shown_are_counted(tmp_path: Path) -> None:
    tables = Tables(Storage(str(tmp_path)))
    clips = [
        {"video_id": name, "clip_id": name, "group_id": f"s/{name[0]}", "group_size": 2}
        for name in ("a", "a1", "b", "b1")
    ]
    rows = [
        clip | {"keeper": len(clip["clip_id"]) == 1, "shard": "s", "status": "ok", "fingerprint": "1"} for clip in clips
    ]
    tables.replace(DUPLICATE_GROUPS, {"s": pa.Table.from_pylist(rows, schema=DUPLICATE_GROUPS.rows_schema)})
    for table in (SOURCE_VIDEOS, CLIP_SELECTION, DUPLICATE_PAIRS):
        tables.swap(table, "s", table.rows_schema.empty_table())
    assert "and 1 more groups: --count 2 shows them" in shown(tmp_path, "--count", "1")
    assert "more groups" not in shown(tmp_path, "--count", "2")
    found = json.loads(shown(tmp_path, "--count", "1", "--json"))
    assert (found["total"], found["outdated"]) == (2, {"gone": 4, "new": 0})
    assert "4 clips of groups are not selected any more, and 0 selected ones" in shown(tmp_path)


def test_a_clip_shows_all_its_pairs_from_its_own_side(root: Path) -> None:
    document = json.loads(shown(root, "b", "--json"))
    assert [group["keeper"] for group in document["groups"]] == [["s", "a"]]
    from_b = next(pair for pair in document["pairs"] if pair["one"]["clip"] == ["s", "b"])
    assert (from_b["one"]["end_ns"], from_b["other"]["start_ns"]) == (4 * SECOND, SECOND)
    assert (from_b["speed"], from_b["view"], from_b["window"]) == (0.5, "b_centre_80", "a")
    assert "meaning 0.950, s/c" in shown(root, "s/a")
    assert "meaning" not in shown(root, "s/a", "--tier", "picture")


def test_a_name_that_is_nothing_is_an_error_with_a_remedy(root: Path) -> None:
    done = CliRunner().invoke(app, ["duplicates", "show", "nothing", "--root", str(root), "--json"])
    assert done.exit_code == 2
    assert "is no selected clip and no group" in done.output

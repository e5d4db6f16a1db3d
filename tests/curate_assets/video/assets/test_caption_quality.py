"""Captions that are flagged, what the check says of a shard, and what a sample's record says."""

from pathlib import Path
from typing import Any

import pytest

from curate_assets.graph.shard_checks import Finding, Shard
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.caption_quality import CAPTION_QUALITY
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.training_dataset import TrainingDatasetConfig
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.graph import VIDEO
from curate_assets.video.samples import samples_of
from curate_resources.declarations.table import Row

GOOD = "A dog walks along the street while people look at the camera."
OTHER = "Rain falls on an empty square at night, and a tram passes."
TEXTS: dict[str, list[str | None]] = {
    "a": [GOOD, GOOD.upper(), OTHER],
    "b": [OTHER, None, OTHER],
    "c": ["What is this?", "N/A"],
}
ASKED = {"backend": "openai", "model": "m", "endpoint": "http://h/v1", "prompt": "What is this?"}


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    """A video with a clip for each of TEXTS."""
    made = TemporaryRoot(tmp_path)
    made.add("s", [f"/videos/{name}.mp4" for name in TEXTS])
    videos = [{"uri": f"/videos/{name}.mp4", "video_id": name, "average_rate": 25.0} for name in TEXTS]
    made.store(SOURCE_VIDEOS, "s", videos)
    clips = [{"video_id": name, "clip_id": f"{name}-0", "shot": 0} for name in TEXTS]
    span = {"start_frame": 0, "end_frame": 300, "start_ns": 0, "end_ns": 12 * 10**9}
    made.store(CLIPS, "s", [clip | span for clip in clips])
    kept = {"selected": True, "keeper": True}
    for table in (CLIP_SELECTION, DUPLICATE_GROUPS):
        made.store(table, "s", [{key: row[key] for key in row if table.has(key)} for row in (c | kept for c in clips)])
    store_captions(made)
    return made


def store_captions(root: TemporaryRoot, **changed: str) -> None:
    rows: list[Row] = []
    for name, texts in TEXTS.items():
        for window, text in enumerate(texts):
            text = changed.get(f"{name}{window}", text)
            key = {"video_id": name, "clip_id": f"{name}-0", "window": window, "start_frame": 100 * window}
            said = {"text": text, "text_digest": text_digest(text), "status": "empty" if text is None else "ok"}
            rows.append(key | said | {"end_frame": 100 * (window + 1), "fingerprint": f"f{name}", "model": "m"})
    root.store(CAPTIONS, "s", rows)


def judged(root: TemporaryRoot, **settings: Any) -> dict[str, list[str] | None]:
    """Flags of all windows, of those that have a caption."""
    root.materialize(VIDEO, CAPTION_QUALITY.name, settings={"captions": ASKED, **settings})
    rows = root.rows(CAPTION_QUALITY)
    assert all((row["flags"] is None) == (row["status"] == "empty") for row in rows)
    return {f"{row['video_id']}{row['window']}": row["flags"] for row in rows}


FLAGS = {
    "a0": ["near_duplicate"],
    "a1": ["near_duplicate"],
    "a2": [],
    "b0": [],
    "b1": None,
    "b2": [],
    "c0": ["too_short", "says_nothing"],
    "c1": ["too_short", "says_nothing"],
}


def test_a_window_has_the_flags_of_its_caption_and_follows_it(root: TemporaryRoot) -> None:
    assert judged(root) == FLAGS
    assert judged(root, caption_quality={"min_words": 2}) == FLAGS | {"c0": ["says_nothing"]}
    assert judged(root) == FLAGS
    store_captions(root, a1=OTHER)  # the same fingerprints: a server was asked again
    assert judged(root) == FLAGS | {"a0": [], "a1": ["near_duplicate"], "a2": ["near_duplicate"]}
    done = root.materialize(VIDEO, CAPTION_QUALITY.name, settings={"captions": ASKED})
    assert [each.computed for each in done] == [0]
    assert judged(root, captions={}) == {}  # no captioner


def test_shares_of_flags_are_checked(root: TemporaryRoot) -> None:
    judged(root)
    (check,) = (each for each in VIDEO.checks if each.name == "captions_sound")

    def found(**limits: Any) -> Finding:
        return check.judge(Shard("s", root.tables, validated({"checks": limits}), VIDEO.units))

    assert "fewer than 20" in found().note
    said = found(min_rows=1, max_repetitive_captions=0, max_near_duplicate_captions=0.3)
    assert said.problems == [
        "odd_length: 2 of 7 captions, 28.6%, more than 10.0%",
        "says_nothing: 2 of 7 captions, 28.6%, more than 2.0%",
    ]
    assert said.numbers["near_duplicate_share"] == pytest.approx(2 / 7)
    assert said.numbers["mean_words"] == pytest.approx((2 * 12 + 12 + 2 * 12 + 3 + 1) / 7)


def test_a_record_has_the_flags_of_the_text_that_it_carries(root: TemporaryRoot) -> None:
    file = {"bytes": 1, "sha256": "0", "width": 640, "height": 360, "frames": 300, "duration_ns": 12 * 10**9}
    files = [{"video_id": name, "clip_id": f"{name}-0", "path": f"media/{name}", **file} for name in TEXTS]
    root.store(CLIP_FILES, "s", files)

    def captions() -> dict[str, list[Any]]:
        samples, _ = samples_of(root.tables, TrainingDatasetConfig())
        return {sample.video_id: sample.about["captions"] for sample in samples}

    plain = {"start_frame": 0, "end_frame": 100, "text": GOOD, "model": "m", "model_revision": None}
    assert captions()["a"][0] == plain  # as it was before there were flags
    judged(root)
    assert captions()["a"][0] == plain | {"flags": ["near_duplicate"]}
    assert [each["flags"] for each in captions()["b"]] == [[], []]
    store_captions(root, a0=OTHER)
    assert captions()["a"][0] == plain | {"text": OTHER}  # nobody has looked at it yet

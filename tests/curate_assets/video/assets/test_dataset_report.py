"""The report, on small tables written by hand: every number is known."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate_assets.settings.resolve import CurationConfig, validated
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.enhanced_captions import ENHANCED_CAPTIONS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.graph import VIDEO
from curate_assets.video.report.charts import histogram
from curate_assets.video.report.contact_sheets import PICTURES, spread
from curate_assets.video.report.contents import ReportContents, gather
from curate_assets.video.report.distributions import Distribution, Mark, distribution
from curate_assets.video.report.funnel import funnel
from curate_assets.video.report.page import render
from curate_assets.video.report.score_extremes import lowest
from curate_assets.video.report.sources import container_name
from curate_resources.declarations.table import Row, Table
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.shots.splitting import SECOND

EVIL = "<script>alert('name')</script>.mp4"
PATH = "media/clips/one 0#1.mp4"
CAPTION = "A dog & a <img src=x onerror=alert(1)> cat."

REPORTED = tuple(VIDEO.tables.values())


def swap(tables: Tables, table: Table, shard: str, rows: Sequence[Row]) -> None:
    filled = [{"shard": shard, "status": "ok", "fingerprint": "f", **row} for row in rows]
    tables.swap(table, shard, pa.Table.from_pylist(filled, schema=table.rows_schema))


def failed(stage: str, message: str, attempt: int = 1) -> Row:
    return {
        "status": "failed",
        "error": {"stage": stage, "type": "MediaError", "message": message, "attempt": attempt},
    }


def jpeg(level: int) -> bytes:
    return cv2.imencode(".jpg", np.full((180, 320, 3), level, np.uint8))[1].tobytes()


def video(uri: str, video_id: str, **more: Any) -> Row:
    facts = {"container": "mp4", "codec": "h264", "width": 640, "height": 360, "average_rate": 25.0}
    return {"uri": uri, "video_id": video_id, "bytes": 1000, "duration_ns": 20 * SECOND, **facts, **more}


def clip(video_id: str, shot: int, start: int, end: int) -> Row:
    times = {"start_ns": start * SECOND, "end_ns": end * SECOND, "start_frame": start * 25, "end_frame": end * 25}
    return {"video_id": video_id, "clip_id": f"{video_id}-{start}", "shot": shot, **times}


CURATED: Mapping[Table, Mapping[str, Sequence[Row]]] = {
    SOURCE_VIDEOS: {
        "a": [
            video("/v/one.mp4", "one"),
            video(f"/v/{EVIL}", "two", width=1920, height=1080, codec="hevc", audio_codec="aac"),
            {"uri": "/v/broken.mp4", **failed("probe", "not a <b>video</b>", 3)},
            {
                **video("/v/one_again.mp4", "one"),
                "status": "empty",
                "error": {"stage": "s", "type": "ExactCopy", "message": "same content as /v/one.mp4", "attempt": 1},
            },
        ],
        # The same file in another shard: the same ids, counted on their own.
        "b": [
            video("/w/one.mp4", "one"),
            video("/w/three.mp4", "three", audio_error="it is in a codec that is not known"),
            video("/w/four.mp4", "four", audio_codec="aac", audio_error="it is damaged throughout"),
        ],
    },
    CLIPS: {
        "a": [
            clip("one", 0, 0, 4),
            clip("one", 1, 5, 8),
            {**clip("one", 2, 9, 10), "clip_id": None, "status": "empty", "dropped": "too_short"},
            clip("two", 0, 0, 10),
            clip("two", 0, 10, 20),
        ],
        "b": [clip("one", 0, 0, 4), {"video_id": "three", **failed("split", "no shot signals")}],
    },
    MOTION_SCORES: {
        "a": [
            {
                "video_id": "one",
                "clip_id": "one-0",
                "mean": 0.02,
                "global_mean": 0.02,
                "per_patch_min_256": 0.01,
                "peak": 0.03,
            },
            {
                "video_id": "one",
                "clip_id": "one-5",
                "mean": 0.0,
                "global_mean": 0.0,
                "per_patch_min_256": 0.0,
                "peak": 0.03,
            },
            {
                "video_id": "two",
                "clip_id": "two-0",
                "mean": 0.005,
                "global_mean": 0.005,
                "per_patch_min_256": 0.0,
                "peak": 0.03,
            },
        ],
        "b": [
            {
                "video_id": "one",
                "clip_id": "one-0",
                "mean": 0.02,
                "global_mean": 0.02,
                "per_patch_min_256": 0.01,
                "peak": 0.03,
            }
        ],
    },
    MOTION_SIGNALS: {
        "a": [
            {"video_id": "one", "luma": [0.25] * 100 + [0.75] * 400},
            {"video_id": "two", **failed("scan", "bad")},
        ]
    },
    CLIP_SELECTION: {
        "a": [
            {"video_id": "one", "clip_id": "one-0", "selected": True, "reasons": []},
            {"video_id": "one", "clip_id": "one-5", "selected": False, "reasons": ["motion_low", "patch_low"]},
            {"video_id": "two", "clip_id": "two-0", "selected": False, "reasons": ["patch_low"]},
            {"video_id": "two", "clip_id": "two-of-an-earlier-split", "selected": True, "reasons": []},
        ],
        "b": [{"video_id": "one", "clip_id": "one-0", "selected": True, "reasons": []}],
    },
}

DELIVERED: Mapping[Table, Mapping[str, Sequence[Row]]] = {
    DUPLICATE_PAIRS: {
        shard: [
            {"shard_a": "a", "clip_a": "one-0", "shard_b": "b", "clip_b": "one-0", "tier": "picture", "span": 0}
            | {"similarity": 0.96875, "share_a": 1.0, "share_b": 0.9, "verdict": "copy", "speed": 1.0, "view": "whole"}
            | {"start_a_ns": 0, "end_a_ns": 4 * SECOND, "start_b_ns": 0, "end_b_ns": 3 * SECOND}
            | {"mirrored": True, "window": "b"}
            | {"measured_a": "one-0", "measured_b": "one-0"},
            {"shard_a": "a", "clip_a": "one-0", "shard_b": "b", "clip_b": "one-0", "tier": "meaning", "span": 0}
            | {"similarity": 0.96875, "measured_a": "one-0", "measured_b": "one-0"},
        ]
        for shard in ("a", "b")
    },
    DUPLICATE_GROUPS: {
        shard: [
            {"video_id": "one", "clip_id": "one-0", "group_id": "a/one-0", "group_size": 2, "keeper": shard == "a"}
            | {"keeper_shard": "a", "keeper_clip_id": "one-0", "alike_id": "a/one-0", "alike_size": 2}
            | ({} if shard == "a" else {"tier": "picture", "similarity": 0.96875, "alike_similarity": 0.96875})
        ]
        for shard in ("a", "b")
    },
    CAPTIONS: {
        "a": [
            {
                "video_id": "one",
                "clip_id": "one-0",
                "window": 0,
                "start_frame": 0,
                "text": "A dog.",
                "caption_status": "success",
                "model": "vlm",
                "model_revision": "r1",
                "prompt_tokens": 100,
                "output_tokens": 8,
            },
            {"video_id": "one", "clip_id": "one-0", "start_frame": 9, **failed("caption", "timed out")},
        ]
    },
    ENHANCED_CAPTIONS: {
        "a": [
            {"video_id": "one", "clip_id": "one-0", "start_frame": 0, "text": CAPTION, "model": "writer"}
            | {"caption_status": "success", "output_tokens": 9, "source_digest": text_digest("A dog.")}
        ]
    },
    CLIP_FILES: {
        "a": [
            {
                "video_id": "one",
                "clip_id": "one-0",
                "path": PATH,
                "thumbnail": b"JPEG of one-0",
                "crop_width": 640,
                "crop_height": 272,
            }
        ]
    },
}


def write(root: Path, *parts: Mapping[Table, Mapping[str, Sequence[Row]]]) -> Tables:
    tables = Tables(Storage(str(root)))
    for table, shards in ((table, shards) for part in parts for table, shards in part.items()):
        for shard, rows in shards.items():
            swap(tables, table, shard, rows)
    return tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    made = write(tmp_path_factory.mktemp("root"), CURATED, DELIVERED)
    pictures = [(frame, jpeg(10 * index)) for index, frame in enumerate(range(0, 250, 50))]
    rows: list[Row] = []
    for frame, data in pictures:
        offset = sum(row["bytes"] for row in rows)
        rows.append({"video_id": "one", "frame": frame, "path": "media/one.jpgs", "offset": offset, "bytes": len(data)})
        rows[-1] |= {"pts_ns": frame * SECOND // 25, "sharpness": 10.0}
    made.storage.write("media/one.jpgs", b"".join(data for _, data in pictures))
    swap(made, STORYBOARDS, "a", rows)
    return made


@pytest.fixture(scope="module")
def contents(tables: Tables) -> ReportContents:
    return gather(tables, CurationConfig(), samples=0, reported=REPORTED)


def test_funnel_counts_and_accounts_for_every_loss(tables: Tables) -> None:
    assert [(step.name, step.count, step.lost) for step in funnel(tables, samples=0)] == [
        ("files", 7, {}),
        ("readable videos", 5, {"exact_copy": 1, "failed": 1}),
        ("shots", 5, {"failed": 1, "waiting": 1}),
        ("clips", 5, {"too_short": 1}),
        ("selected", 2, {"patch_low": 2, "motion_low": 1, "waiting": 1}),
        ("kept", 1, {"duplicate": 1}),
        ("clip files", 1, {}),
        ("samples", 0, {"left_out": 1}),
    ]


def test_funnel_of_tables_that_were_never_written(tmp_path: Path) -> None:
    assert [step.count for step in funnel(write(tmp_path / "none"))] == [None] * 8
    only = write(tmp_path / "some", {SOURCE_VIDEOS: CURATED[SOURCE_VIDEOS]})
    assert [step.count for step in funnel(only)] == [7, 5, None, None, None, None, None, None]


def test_totals_ledger_and_sources(contents: ReportContents) -> None:
    assert (contents.shards, contents.seconds_in, contents.bytes_in) == (2, 100.0, 5000)
    assert (contents.out, contents.clips_out, contents.seconds_out) == ("clip files", 1, 4.0)
    assert contents.ledger is not None
    assert [(loss.reason, loss.removed, loss.removed_alone) for loss in contents.ledger] == [
        ("patch_low", 2, 1),
        ("motion_low", 1, 0),
        ("motion_low + patch_low", 1, 0),
    ]
    assert contents.sources is not None
    assert [(share.value, share.files, share.seconds) for share in contents.sources["Codec"]] == [
        ("h264", 4, 80.0),
        ("hevc", 1, 20.0),
    ]
    assert {share.value: share.files for share in contents.sources["Sound"]} == {
        "none": 2,
        "aac": 1,
        "aac, not usable": 1,
        "unknown codec, not usable": 1,
    }


def test_clips_duplicates_and_captions(contents: ReportContents) -> None:
    assert contents.kept is not None and contents.rejected is not None
    (kept,) = contents.kept.clips
    assert (kept.uri, kept.start, kept.end, kept.thumbnail) == ("/v/one.mp4", 0.0, 4.0, b"JPEG of one-0")
    assert (kept.caption, kept.luma, kept.cropped) == (CAPTION, pytest.approx(0.25), (640, 272))
    assert "cropped to 640×272" in render(contents)
    assert [(sheet.reasons, sheet.total) for sheet in contents.rejected] == [
        (("motion_low", "patch_low"), 1),
        (("patch_low",), 1),
    ]
    assert contents.rejected[0].clips[0].luma == pytest.approx(0.75)
    assert contents.rejected[1].clips[0].thumbnail is None  # video two has no storyboard
    assert contents.duplicates is not None
    (group,), (alike,) = contents.duplicates.groups, contents.duplicates.alike
    for each, tier in ((group, "picture"), (alike, "meaning")):
        assert [(m.clip.uri, m.keeper, m.similarity, m.tier) for m in each.members] == [
            ("/v/one.mp4", True, None, None),
            ("/w/one.mp4", False, 0.96875, tier),
        ]
    (strip,) = group.strips
    assert (strip.removed.uri, len(strip.moments), alike.strips) == ("/w/one.mp4", 6, ())
    keepers, removed = zip(*strip.moments, strict=True)
    assert None not in keepers and set(removed) == {None}  # shard b has no storyboard
    assert len(set(keepers)) >= 2  # moments of the span, one after another
    span = "0:00.0 – 0:04.0 of the keeper is 0:00.0 – 0:03.0 of one.mp4 · 90 % of it · mirrored · it is in a window"
    assert span in render(contents)
    assert contents.captions is not None
    assert [(c.stage, c.model, c.status, c.windows, c.output_tokens) for c in contents.captions] == [
        ("captions", "", "error", 1, 0),
        ("captions", "vlm", "success", 1, 8),
        ("enhanced_captions", "writer", "success", 1, 9),
    ]


def test_thumbnail_is_the_storyboard_frame_nearest_the_middle(contents: ReportContents) -> None:
    assert contents.rejected is not None
    data = contents.rejected[0].clips[0].thumbnail  # frames 125 to 200, middle 162: nearest is frame 150, of level 30
    assert data is not None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (90, 160, 3)
    assert abs(picture.mean() - 30) < 2


def test_failures_are_all_counted_and_traced_to_files(contents: ReportContents) -> None:
    assert contents.failed == {"source_videos": 1, "motion_signals": 1, "clips": 1, "captions": 1}
    assert [(f.uri, f.table, f.message, f.attempt) for f in contents.failures] == [
        (f"/v/{EVIL}", "motion_signals", "bad", 1),
        ("/v/broken.mp4", "source_videos", "not a <b>video</b>", 3),
        ("/v/one.mp4", "captions", "timed out", 1),
        ("/w/three.mp4", "clips", "no shot signals", 1),
    ]
    assert [(file.uri, file.type, file.message) for file in contents.unused_files] == [
        ("/v/one_again.mp4", "ExactCopy", "same content as /v/one.mp4")
    ]


def test_distributions_count_every_clip_once(contents: ReportContents) -> None:
    found = {each.title: each for each in contents.distributions}
    assert found["Clip length"].series == ("selected", "rejected")
    assert {title: counts(each) for title, each in found.items()} == {
        "Clip length": [2, 2],
        "Motion of the liveliest patch": [2, 2],
        "Motion": [2, 2],
        "Motion, as Cosmos-Curate measures it": [2, 2],
        "Motion of the stillest patch, as Cosmos-Curate measures it": [2, 2],
        "Mean luminance": [1, 1],  # the others were not measured
        "Short side": [2, 2],
        "Frame rate": [2, 2],
        "Sharpness": [5],
        "Similarity of pictures": [1],  # recorded by both of its shards
        "Similarity in meaning": [1, 0],
        "Caption length": [1],
    }
    assert [(bar.low, bar.counts) for bar in found["Short side"].bars] == [(360.0, (2, 1)), (1080.0, (0, 1))]


def counts(data: Distribution) -> list[int]:
    return np.sum([bar.counts for bar in data.bars], axis=0).tolist()


@pytest.mark.parametrize("scale", ["linear", "log", "values"])
def test_bars_agree_with_numpy(scale: Any) -> None:
    values = np.random.default_rng(5).lognormal(0, 1, 5000)
    marks = [Mark(1e-3, "min")]
    bars = distribution("t", "", "n", "s", True, {"a": values}, scale, marks=marks).bars
    edges = np.array([bars[0].low, *(bar.high for bar in bars)])
    expected, _ = np.histogram(values, edges)
    np.testing.assert_array_equal([bar.counts[0] for bar in bars], expected)
    assert expected.sum() == 5000


def test_zeros_have_a_bar_on_the_log_scale() -> None:
    bars = distribution("t", "", "n", "s", True, {"a": [0.0, 0.0, 0.5], "b": [0.0]}, "log").bars
    assert (bars[0].low, bars[0].high, bars[0].counts) == (0.0, 0.0, (2, 1))
    assert sum(sum(bar.counts) for bar in bars) == 4


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_escaped_closed_and_loads_nothing(contents: ReportContents) -> None:
    page = render(contents)
    found = _Elements()
    found.feed(page)
    assert found.open == []
    assert "script" not in found.tags and "b" in found.tags
    assert all(link.startswith(("data:image/jpeg;base64,", "#", "../media/")) for link in found.links)
    assert not re.search(r"url\(|@import|https?:", page)
    assert "&lt;script&gt;alert(&#39;name&#39;)&lt;/script&gt;.mp4" in page
    assert "A dog &amp; a &lt;img src=x onerror=alert(1)&gt; cat." in page
    assert "not a &lt;b&gt;video&lt;/b&gt;" in page


def test_same_tables_give_the_same_bytes(tables: Tables, contents: ReportContents, tmp_path: Path) -> None:
    assert render(gather(tables, CurationConfig(), samples=0, reported=REPORTED)) == render(contents)
    # Shards that were written in another order, to other versions of the tables, and rewritten: the same page.
    turned = {table: dict(reversed(list(shards.items()))) for table, shards in {**CURATED, **DELIVERED}.items()}
    root = tables.storage.root
    one = render(gather(write(tmp_path / "x" / "r", CURATED, DELIVERED), CurationConfig(), 0, REPORTED))
    two = render(gather(write(tmp_path / "y" / "r", turned, {CLIPS: CURATED[CLIPS]}), CurationConfig(), 0, REPORTED))
    assert root not in one
    assert one.replace(str(tmp_path / "x"), "") == two.replace(str(tmp_path / "y"), "")


@pytest.mark.parametrize("written", [0, 1, 2, 5, 7])
def test_page_of_a_library_that_is_not_finished(written: int, tmp_path: Path) -> None:
    parts = dict(list({**CURATED, **DELIVERED}.items())[:written])
    page = render(gather(write(tmp_path, parts), CurationConfig(), None, REPORTED))
    named = ("source_videos", "clip_selection", "duplicate_groups", "clip_files", "captions")
    absent = [name for name in named if name not in {table.name for table in parts}]
    for name in named:
        said = f'<p class="absence"><code>{name}</code> is not materialized yet.</p>' in page
        assert said == (name in absent), name


def test_thresholds_come_from_the_configuration(tables: Tables) -> None:
    config = validated({"duplicate_groups": {"min_similarity": 0.99}, "clip_selection": {"short_side_min": 720}})
    found = {each.title: each for each in gather(tables, config, None, REPORTED).distributions}
    assert found["Short side"].marks == (Mark(720, "min"),)
    assert found["Similarity in meaning"].marks == (Mark(0.99, "alike from"),)
    assert counts(found["Similarity in meaning"]) == [0, 1]


def test_ends_of_scores_and_both_sides_of_thresholds_are_shown(tables: Tables) -> None:
    config = validated({"clip_selection": {"motion_global_mean_min": 0.005, "short_side_min": 720}})
    found = {each.name: each.groups for each in gather(tables, config, None, REPORTED).extremes}
    said = {
        name: [(g.title, g.setting, [(clip.uri[1], clip.clip_id, value) for clip, value in g.clips]) for g in groups]
        for name, groups in found.items()
    }
    motion = [("v", "one-5", 0.0), ("v", "two-0", pytest.approx(0.005)), *((v, "one-0", 0.02) for v in "vw")]
    motion[2:] = [(folder, clip_id, pytest.approx(value)) for folder, clip_id, value in motion[2:]]
    assert (
        said["motion_global_mean"]
        == [
            ("worst", None, motion[:2]),  # of two-10, nothing was measured
            ("just rejected", "motion_global_mean_min", motion[:1]),
            ("just kept", "motion_global_mean_min", motion[1:]),
            ("best", None, [*motion[2:], motion[1]]),
        ]
    )
    assert [(title, len(clips)) for title, _, clips in said["short_side"]] == [
        ("worst", 3), ("just rejected", 3), ("just kept", 2), ("best", 2)
    ]  # fmt: skip
    assert [title for title, _, _ in said["seconds"]] == ["lowest", "highest"]  # neither is worse
    assert not found.keys() & {"blur", "still_share", "motion_peak"}  # off, and the same for all clips
    (worst, _), *_ = found["motion_global_mean"][0].clips
    assert worst.thumbnail is not None and worst.thumbnail.startswith(b"\xff\xd8")


def test_the_lowest_of_many_are_those_of_a_full_sort_and_equal_ones_are_spread() -> None:
    rng = np.random.default_rng(2)
    values = np.where(rng.random(5000) < 0.1, np.nan, rng.integers(0, 3000, 5000)).astype(np.float64)
    assert values[lowest(values, 7)].tolist() == np.sort(values)[:7].tolist()
    assert lowest(np.array([1.0] + [0.0] * 100 + [np.nan]), 4) == [13, 38, 63, 88]
    assert lowest(np.array([np.nan, 2.0, 1.0]), 4) == [2, 1] and lowest(np.full(3, np.nan), 2) == []


def test_spread_is_even_and_bounded() -> None:
    assert spread(range(3), PICTURES) == [0, 1, 2]
    assert spread(range(100), 4) == [12, 37, 62, 87]


def test_a_clip_says_its_id_its_file_and_its_whole_caption(contents: ReportContents) -> None:
    page = render(contents)
    assert '<p class="id mono">one-0</p>' in page
    assert f'<a href="../media/clips/one%200%231.mp4" title="{contents.root}/{PATH}">clip file</a>' in page
    assert page.count("clip file</a>") == 3  # of the kept clip, and as the best one of both its groups
    assert "<details" in page and page.count("A dog &amp; a") == 1


@pytest.mark.parametrize(
    ("demuxer", "name"),
    [("mov,mp4,m4a,3gp,3g2,mj2", "MP4/MOV"), ("matroska,webm", "Matroska/WebM"), ("nut", "nut"), (None, "unknown")],
)
def test_containers_have_the_names_that_people_use(demuxer: str | None, name: str) -> None:
    assert container_name(demuxer) == name


CROWDED = [
    distribution("Near", "s", "clips", "t", True, {"selected": [1.0, 2.0, 40.0]}, marks=[
        Mark(2.0, "proposed minimum"), Mark(2.1, "now minimum"), Mark(2.2, "maximum"), Mark(39.0, "now maximum")
    ]),
    distribution("Beyond", "", "clips", "t", True, {"rejected": [0.1, 0.2]}, marks=[
        Mark(-50.0, "now"), Mark(90.0, "proposed")
    ]),
    distribution("Log", "", "clips", "t", True, {"selected": [0.0, 1e-5, 0.5]}, "log", marks=[
        Mark(1e-9, "now"), Mark(1e-5, "proposed"), Mark(0.0, "off")
    ]),
    distribution("Few", "fps", "clips", "t", True, {"selected": [23.976 + index / 7 for index in range(11)]}, "values",
        marks=[Mark(12.0, "now"), Mark(99.0, "proposed")]),
    distribution("One", "", "clips", "t", True, {"selected": [123456.0]}, marks=[Mark(123456.0, "now")]),
]  # fmt: skip


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_is_too_wide_and_no_label_covers_another(
    contents: ReportContents, layout_faults: Any, width: int
) -> None:
    assert contents.kept is not None
    long = replace(contents.kept.clips[0], uri="/v/" + "long" * 60 + ".mp4", clip_id="c" * 90, caption="word " * 200)
    message = replace(contents.failures[0], uri="/v/" + "x" * 200, message="y" * 400)
    crowded = replace(
        contents,
        distributions=(*contents.distributions, *CROWDED),
        kept=replace(contents.kept, clips=(long,) * 5),
        failures=(message, *contents.failures),
    )
    page = render(crowded)
    assert '<details class="score">' in page
    assert layout_faults(page.replace('<details class="score">', '<details class="score" open>'), width) == []


def test_a_threshold_beyond_the_axis_has_a_label_and_no_line() -> None:
    chart = histogram(CROWDED[1])
    assert "← now -50" in chart and "proposed 90 →" in chart and 'class="mark"' not in chart


@pytest.mark.parametrize(("rejects", "before"), [("low", 1), ("high", 2)])
def test_a_threshold_stands_between_the_values_that_it_rejects_and_the_others(rejects: Any, before: int) -> None:
    """Also where it is one of them: no more than 1 picture at a time is rejected."""
    chart = histogram(
        distribution("t", "", "n", "s", True, {"a": [0.0, 1.0, 4.0]}, "values", marks=[Mark(1.0, "now", rejects)])
    )
    (line,) = re.findall(r'class="mark" x1="([\d.]+)"', chart)
    bars = [float(x) for x in re.findall(r'<rect [^>]*x="([\d.]+)"', chart)]
    assert sum(x < float(line) for x in bars) == before

"""`clip_files` that are cropped: to the active picture, and without bands of overlaid text."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curate_assets.operations.outlook import outlook
from curate_assets.settings.presets import ShardSettings
from curate_assets.settings.resolve import ConfigError, validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.measurements.borders import BORDERS
from curate_assets.video.assets.measurements.text_overlays import TEXT_OVERLAYS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from curate_assets.video.samples import SamplesConfig, samples_of

WIDE, HIGH, FRAMES = 128, 96, 10
BOX = {"x": 0, "y": 15, "width": WIDE, "height": 65}
CLIP_IDS = ("v-0", "v-1", "v-2", "v-3")
LOSSLESS = {"method": "encode", "preset": "ultrafast", "crf": 0}
ON = {"borders": {"enabled": True}, "text_overlays": {"enabled": True}}
CROP = {"clip_files": {**LOSSLESS, "crop": "borders"}, **ON}
BANDS = {"clip_files": {**LOSSLESS, "crop": "borders", "drop_bands": True}, **ON}


def _luma(path: Path) -> np.ndarray:
    with av.open(str(path)) as opened:
        return np.stack([frame.to_ndarray()[: frame.height, : frame.width] for frame in opened.decode(video=0)])


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    """Four clips of a letterboxed video: one plain, one with a subtitle, one whose borders move, one not measured."""
    root, path, drawn = TemporaryRoot(tmp_path / "data"), tmp_path / "v.mkv", np.random.default_rng(0)
    with av.open(str(path), "w") as written:
        stream = written.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDE, HIGH, "yuv420p"
        for _ in range(FRAMES * len(CLIP_IDS)):
            picture = np.full((HIGH * 3 // 2, WIDE), 128, np.uint8)
            picture[:HIGH] = 16
            picture[BOX["y"] : BOX["y"] + BOX["height"]] = drawn.integers(60, 230, (BOX["height"], WIDE))
            written.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        written.mux(stream.encode())
    root.add("x", [str(path)])
    root.materialize(VIDEO, SOURCE_VIDEOS.name)
    video = root.rows(SOURCE_VIDEOS)[0]["video_id"]
    spans = [
        {
            "video_id": video,
            "clip_id": clip,
            "start_frame": FRAMES * number,
            "end_frame": FRAMES * (number + 1),
            "start_ns": number * 10**9,
            "end_ns": (number + 1) * 10**9,
        }
        for number, clip in enumerate(CLIP_IDS)
    ]
    root.store(CLIPS, "x", spans)
    names = [{"video_id": video, "clip_id": clip} for clip in CLIP_IDS]
    root.store(CLIP_SELECTION, "x", [{**name, "selected": True, "reasons": []} for name in names])
    root.store(DUPLICATE_GROUPS, "x", [{**name, "keeper": True} for name in names])
    apart = [{"x": 0, "y": 0, "width": WIDE, "height": 40}, {**BOX, "y": 50, "height": 46}]
    measured = [{**name, **BOX, "stretches": [BOX]} for name in names]
    measured[2] |= {**apart[1], "stretches": apart}
    measured[3] = {**names[3], "status": "failed"}
    root.store(BORDERS, "x", measured)
    subtitle = {"y": 0.7, "height": 0.1, "overlay": True, "told": True}
    scene, unclear = {**subtitle, "y": 0.2, "overlay": False}, {**subtitle, "y": 0.2, "told": False}
    lines = [[scene, unclear], [subtitle], [], []]
    root.store(TEXT_OVERLAYS, "x", [{**name, "lines": each} for name, each in zip(names, lines, strict=True)])
    return root


def _made(root: TemporaryRoot, settings: dict[str, Any]) -> int:
    (done,) = root.materialize(VIDEO, CLIP_FILES.name, settings=settings)
    return done.computed


def _crop(row: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(row[f"crop_{name}"] for name in ("x", "y", "width", "height"))


def test_files_are_cropped_as_measured_and_say_so(root: TemporaryRoot) -> None:
    source = _luma(root.folder.parent / "v.mkv")
    _made(root, BANDS)
    plain, subtitled, moving, unmeasured = root.rows(CLIP_FILES)
    for number, (row, (top, bottom)) in enumerate([(plain, (16, 80)), (subtitled, (16, 64))]):
        assert _crop(row) == (0, top, WIDE, bottom - top)
        assert (row["width"], row["height"], row["frames"]) == (WIDE, bottom - top, FRAMES)
        expected = source[FRAMES * number : FRAMES * (number + 1), top:bottom]
        assert np.array_equal(_luma(root.folder / row["path"]), expected)
    assert _crop(moving) == (None,) * 4 and moving["crop_undone"] == "borders_move" and moving["height"] == HIGH
    assert np.array_equal(_luma(root.folder / moving["path"]), source[2 * FRAMES : 3 * FRAMES])
    assert unmeasured["status"] == "failed" and "its row of borders is not there" in unmeasured["error"]["message"]

    about = {sample.clip_id: sample.about for sample in samples_of(root.tables, SamplesConfig())[0]}
    assert about["v-1"]["crop"] == {"x": 0, "y": 16, "width": WIDE, "height": 48} and about["v-1"]["height"] == 48
    assert "crop" not in about["v-2"] and about["v-2"]["height"] == HIGH


def test_too_little_is_not_left(root: TemporaryRoot) -> None:
    _made(root, {**CROP, "clip_files": {**CROP["clip_files"], "crop_least_share": 0.8}})
    first = root.rows(CLIP_FILES)[0]
    assert (first["crop_undone"], first["height"], _crop(first)) == ("too_little_left", HIGH, (None,) * 4)


def test_frames_of_another_size_than_the_videos_are_not_cropped(root: TemporaryRoot) -> None:
    (source,) = root.rows(SOURCE_VIDEOS)
    root.store(SOURCE_VIDEOS, "x", [{**source, "width": 2 * WIDE, "height": 2 * HIGH}])
    _made(root, {**CROP, "clip_files": {**CROP["clip_files"], "crop_least_share": 0.01}})
    first = root.rows(CLIP_FILES)[0]
    assert (first["crop_undone"], first["height"], _crop(first)) == ("size_changes", HIGH, (None,) * 4)


def test_files_depend_on_borders_only_where_they_are_cropped(root: TemporaryRoot) -> None:
    off = {"clip_files": LOSSLESS}
    assert _made(root, off) == 4 and root.rows(CLIP_FILES)[3]["status"] == "ok"
    before = root.rows(CLIP_FILES)
    assert _made(root, {**off, **ON}) == 0  # measuring alone changes no file
    rows = root.rows(BORDERS)
    root.store(BORDERS, "x", [{**row, "fingerprint": f"new {row['clip_id']}"} for row in rows])
    assert _made(root, {**off, **ON}) == 0 and root.rows(CLIP_FILES) == before
    (ahead,) = outlook(ShardSettings.read(root.storage, CROP), {CLIP_FILES.name}, ["x"]).assets
    assert ahead.reasons == {"made from borders now, clip_files.crop None -> 'borders'": 4}
    assert _made(root, CROP) == 4
    assert _made(root, CROP) == 1  # the one that failed
    root.store(BORDERS, "x", [{**rows[0], "fingerprint": "newer"}, *root.rows(BORDERS)[1:]])
    assert _made(root, CROP) == 2
    root.store(TEXT_OVERLAYS, "x", [])
    assert _made(root, CROP) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clip_files": {"crop": "borders"}, **ON}, "crop needs method: encode"),
        ({"clip_files": {"crop": "borders", "method": "encode"}}, r"crop: borders needs borders.*set borders\.enabled"),
        (
            {"clip_files": {"drop_bands": True, "method": "encode"}, "borders": {"enabled": True}},
            r"drop_bands needs text_overlays.*set text_overlays\.enabled",
        ),
    ],
)
def test_cropping_needs_its_measurement_and_encoding(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validated(settings)

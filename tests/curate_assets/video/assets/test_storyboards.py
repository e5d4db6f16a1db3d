"""`storyboards`: each picture is the frame of the source that its row names; a finer one comes from the same decode."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from curate_assets.graph.graph import Graph
from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.variants import with_variants
from curate_assets.operations.outlook import outlook
from curate_assets.settings.presets import ShardSettings
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.graph import VIDEO
from curate_assets.video.storyboard_frames import Storyboards
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import UserError
from gpu_kernels.media.storyboards import decoded
from gpu_kernels.sandbox import Nursery


def test_pictures_are_the_frames_that_they_say(finished) -> None:
    boards = Storyboards(finished.storage, finished.tables.read(STORYBOARDS))
    for video in finished.tables.read(SOURCE_VIDEOS, where="status = 'ok'").to_pylist():
        board = boards.of(video["video_id"])
        with av.open(video["uri"]) as source:
            frames = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        pictures = board.jpegs(range(len(board.frames)))
        assert len(pictures) >= len(frames) / video["average_rate"]  # one per second at least
        for frame, jpeg in zip(board.frames, pictures, strict=True):
            shown = decoded(jpeg)
            others = (cv2.resize(frames[at], shown.shape[1::-1]) for at in (frame, max(0, frame - 12)))  # square pixels
            apart, apart_from_before = (np.abs(shown.astype(int) - other).mean() for other in others)
            assert apart < 6 and (frame < 12 or apart <= apart_from_before)


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    root = TemporaryRoot(tmp_path)
    root.storage.write("media/b.jpgs", bytes(30))
    place = {"video_id": "v", "path": "media/b.jpgs", "bytes": 20}
    root.store(STORYBOARDS, "x", [{**place, "frame": frame, "pts_ns": frame, "offset": 20 * frame} for frame in (0, 1)])
    board = Storyboards(root.storage, root.tables.read(STORYBOARDS)).of("v")
    assert board.jpegs([0]) == [bytes(20)]
    with pytest.raises(UserError, match=r"media/b\.jpgs is cut off: .*--select storyboards --force"):
        board.jpegs([0, 1])


FINE = "storyboards_fine"
SCANNED = ("shot_signals", "motion_signals", "picture_hashes", "storyboards")
FINER = with_variants(VIDEO, GraphChoice(variants={"storyboards": ["fine"]}))


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that children were started to decode, in order."""
    found: list[str] = []
    run = Nursery.run

    def counted(self: Nursery, operation: str, *given: Any, **named: Any) -> Any:
        if operation.endswith(":scan"):
            found.append(named["path"])
        return run(self, operation, *given, **named)

    monkeypatch.setattr(Nursery, "run", counted)
    return found


class Scanned:
    """A root with one video."""

    def __init__(self, root: Path, video: Path, graph: Graph) -> None:
        self.storage = Storage(str(root))
        self.tables = Tables(self.storage)
        add_units(Manifests(self.storage), str(video), "v", 1, 1 << 30, VIDEO_FILES)
        self.scan(graph, "source_videos", *SCANNED, *(name for name in graph.tables if name == FINE))

    def settings(self, graph: Graph) -> ShardSettings:
        settings = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}}
        fine = {FINE: {"frames_per_second": 4, "short_side": 96, "multiple_of": 32}} if FINE in graph.tables else {}
        config = graph.config_model("Settings", __name__).model_validate(
            {**settings, **fine, "storyboards": {"short_side": 64}}
        )
        return ShardSettings(self.storage, {}, config)

    def scan(self, graph: Graph, *tables: str) -> None:
        plan = graph.plan(tables, self.settings(graph).whole, self.storage.root)
        list(materialize(plan, ["v-000000"], InProcessEngine()))

    def rows(self, table: str) -> list[dict[str, Any]]:
        rows = self.tables.read(FINER.tables[table]).to_pylist()
        return [row | {"picture": self.storage.read(row["path"], row["offset"], row["bytes"])} for row in rows]


def test_a_finer_storyboard_is_one_more_product_of_the_same_decode(media, tmp_path, decodes) -> None:
    made = "-f lavfi -i testsrc2=s=320x128:r=24:d=3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p"
    video = media.made(tmp_path / "v.mp4", made)
    both = Scanned(tmp_path / "both", video, FINER)
    assert len(decodes) == 1
    later = Scanned(tmp_path / "later", video, VIDEO)
    assert len(decodes) == 2 and later.rows("storyboards") == both.rows("storyboards")

    finer = both.rows(FINE)
    assert [row["frame"] for row in finer] == list(range(0, 72, 6))
    assert [row["pts_ns"] for row in finer] == [round(1e9 * frame / 24) for frame in range(0, 72, 6)]
    assert {(row["width"], row["height"]) for row in finer} == {(256, 96)}  # 240 would be the width
    assert {decoded(row["picture"]).shape for row in finer} == {(96, 256, 3)}
    assert {(row["width"], row["height"]) for row in both.rows("storyboards")} == {(160, 64)}

    # A model that wants fewer frames is shown those that the coarser storyboard holds.
    coarse = [row["frame"] for row in both.rows("storyboards")]
    for table, rate, shown in (
        (FINE, 2, coarse),
        (FINE, 1, coarse[::2]),
        (FINE, 4, [row["frame"] for row in finer]),
        ("storyboards", 2, coarse),
        ("storyboards", 1, coarse[::2]),
    ):
        boards = Storyboards(both.storage, both.tables.read(FINER.tables[table]), rate)
        assert boards.of(finer[0]["video_id"]).frames == shown, (table, rate)

    # Asked for later, it needs the sources once more; the plan says so, and what is there stays as it is.
    ahead = outlook(later.settings(FINER), ["source_videos", *SCANNED, FINE], ["v-000000"], graph=FINER)
    (read,) = ahead.sources_read
    assert (read.stage, read.items, read.of, read.tables) == ("scan", 1, "source_videos", (FINE,))
    assert read.kept == SCANNED and ahead.reuse == len(SCANNED) + 1
    later.scan(FINER, "source_videos", *SCANNED, FINE)
    assert len(decodes) == 3 and later.rows(FINE) == finer
    assert later.rows("storyboards") == both.rows("storyboards")
    again = outlook(later.settings(FINER), ["source_videos", *SCANNED, FINE], ["v-000000"], graph=FINER)
    assert again.compute == 0 and again.sources_read == ()

"""No caption lands on another window: every stored text is the hash of the frames that the stored storyboard has of its
window, though answers come in any order, engines die, windows are refused and asked again, and workers are killed."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hash_captions
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hash_captions import GRAPH, Settings, answer

from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS, clip_id
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_resources.declarations.table import Row, Table
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.ray_engine import RayEngine
from curate_resources.pipeline.commit import in_order
from curate_resources.pipeline.run import Engine
from curate_resources.pipeline.unit import Unit
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables

OTHER = GRAPH.tables["captions_other"]
SALTS = {CAPTIONS.name: "first", OTHER.name: "second"}
WINDOW = 4
PER_CLIP = 2
FRAME_NS = 40_000_000
KILLS = 3
"""A unit is lost with the fourth worker that dies of it."""


class Videos:
    """Videos whose storyboards hold texts in place of pictures, no two alike; every clip has two windows.

    Attributes:
        pictures: (video, frame) to what the storyboard holds, read from the files that its rows point at.
    """

    def __init__(self, root: Path, count: int, clips_each: int) -> None:
        self.tables = Tables(Storage(str(root)))
        self._clips: dict[str, list[Row]] = {}
        self._boards: dict[str, list[Row]] = {}
        (root / "media").mkdir(parents=True)
        for number in range(count):
            video = f"v{number}"
            self._clips[video] = [
                {"video_id": video, "clip_id": clip_id(video, start * FRAME_NS, end * FRAME_NS), "shot": shot}
                | {"start_frame": start, "end_frame": end, "selected": True, "keeper": True}
                for shot in range(clips_each)
                for start, end in [(shot * PER_CLIP * WINDOW, (shot + 1) * PER_CLIP * WINDOW)]
            ]
            board, offset = self._boards.setdefault(video, []), 0
            with (root / "media" / video).open("wb") as pack:
                for frame in range(clips_each * PER_CLIP * WINDOW):
                    text = f"{number}.{frame}".encode()
                    place = {"path": f"media/{video}", "offset": offset, "bytes": len(text)}
                    board.append({"video_id": video, "frame": frame, "pts_ns": frame * FRAME_NS, **place})
                    offset += pack.write(text)
        files = {video: (root / "media" / video).read_bytes() for video in self._boards}
        self.pictures = {
            (row["video_id"], row["frame"]): files[row["video_id"]][row["offset"] :][: row["bytes"]]
            for board in self._boards.values()
            for row in board
        }
        self.windows = count * clips_each * PER_CLIP

    def units(self) -> list[Unit]:
        """The videos, with what is stored of their captions."""
        stored = {table.name: self.stored(table) for table in (CAPTIONS, OTHER)}
        return [
            Unit(
                "s",
                video,
                {STORYBOARDS.name: _typed(STORYBOARDS, self._boards[video])}
                | {table.name: _typed(table, clips) for table in (CLIPS, CLIP_SELECTION, DUPLICATE_GROUPS)},
                {name: rows.filter(pc.field("video_id") == video) for name, rows in stored.items()},
            )
            for video, clips in self._clips.items()
        ]

    def stored(self, table: Table) -> pa.Table:
        """The stored captions."""
        return self.tables.read(table, "s").drop_columns(["slot"])

    def run(
        self,
        engine: Engine,
        settings: Any,
        failed_only: bool = False,
        wanted: Sequence[Table] = (CAPTIONS, OTHER),
        heard: Callable[[int], None] = lambda _done: None,
    ) -> int:
        """Ask and store; returns how many windows have no text. `heard` is told how many videos are done."""
        plan = GRAPH.plan([each.name for each in wanted], settings, self.tables.storage.root, failed_only=failed_only)
        done: list[Unit] = []
        for unit in engine.run(plan, self.units()):
            done.append(unit)
            heard(len(done))
        for table in wanted:
            self.tables.swap(table, "s", in_order(table, [unit.rows[table.name] for unit in done]))
        return sum(self.stored(each)["text"].null_count for each in wanted)

    def astray(self, table: Table) -> list[tuple[str, int]]:
        """The windows whose text is not the hash of their own frames, by clip and first frame."""
        salt, rows = SALTS[table.name], self.stored(table).to_pylist()
        assert len({(row["clip_id"], row["start_frame"]) for row in rows}) == len(rows) == self.windows
        return [
            (row["clip_id"], row["start_frame"])
            for row in rows
            if row["text"] != answer(salt, self._frames(row)) or row["model"] != f"hash-{salt}"
        ]

    def _frames(self, row: Row) -> list[bytes]:
        return [self.pictures[row["video_id"], frame] for frame in range(row["start_frame"], row["end_frame"])]


def _typed(table: Table, rows: list[Row]) -> pa.Table:
    common = {"shard": "s", "status": "ok", "fingerprint": "f", "error": None}
    own = [{key: value for key, value in row.items() if key in table.rows_schema.names} for row in rows]
    return pa.Table.from_pylist([common | row for row in own], schema=table.rows_schema)


def settings(**changed: Any) -> Any:
    """Two captioners, each with a salt of its own."""
    common = {"window_frames": WINDOW, "remainder_frames": WINDOW, **changed}
    return Settings.model_validate({name: common | {"salt": salt} for name, salt in SALTS.items()})


def ask_until_all_answered(
    videos: Videos, engine: Engine, notes: Path, heard: Callable[[int], None] = lambda _done: None
) -> None:
    """Ask everything, and what failed once more until nothing did; some of it must."""
    notes.mkdir()
    troubled = settings(deaths=0.004, refused=0.02, notes=str(notes))
    without = [videos.run(engine, troubled, heard=heard)]
    while without[-1] and len(without) < 8:
        without.append(videos.run(InProcessEngine(), troubled, True))
    assert without[0] > 0.01 * videos.windows and without[-1] == 0, without
    assert len(list(notes.glob("died-*"))) > 0.002 * videos.windows


def test_every_stored_text_is_of_its_own_frames_though_engines_die_and_refuse(tmp_path: Path) -> None:
    videos = Videos(tmp_path / "root", 10, 20)
    ask_until_all_answered(videos, InProcessEngine(), tmp_path / "notes")
    assert videos.astray(CAPTIONS) == videos.astray(OTHER) == []


def test_an_engine_that_keeps_answers_by_the_id_of_a_clip_is_found_out(tmp_path: Path) -> None:
    videos = Videos(tmp_path / "root", 4, 10)
    assert videos.run(InProcessEngine(), settings(cached_by="clip"), wanted=[CAPTIONS]) == 0
    astray = videos.astray(CAPTIONS)
    assert len(astray) == len({clip for clip, _ in astray}) == videos.windows / PER_CLIP  # one of the two of every clip


@pytest.mark.deep
def test_ten_thousand_windows_on_a_cluster_whose_workers_are_killed(
    attached: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    folders = [str(Path(hash_captions.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    ray.init(
        attached.address,
        namespace="curate",
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(folders)}},
    )
    videos, killed = Videos(tmp_path / "root", 50, 100), list[int]()

    def kill(done: int) -> None:
        if len(killed) < KILLS and done >= 10 * (len(killed) + 1):
            workers = attached.processes("ray::StageActor")
            killed.append(workers[len(killed) % len(workers)])
            os.kill(killed[-1], signal.SIGKILL)

    ask_until_all_answered(videos, RayEngine(RayCluster()), tmp_path / "notes", kill)
    assert len(set(killed)) == KILLS and videos.windows == 10_000
    assert videos.astray(CAPTIONS) == videos.astray(OTHER) == []

"""Captions by a server on loopback, which is asked about clips of several videos at a time; and what rows say."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curate_assets.settings.resolve import validated
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS, clip_id
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.table import Row, Table
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.ray_engine import RayEngine
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from gpu_kernels.backends import Backends
from gpu_kernels.captioners.types import Caption, CaptionRequest, CaptionsConfig

CONCURRENCY = 4
VIDEOS = 10
CLIPS_EACH = (1, 2, 3)
TOTAL = sum(CLIPS_EACH[number % 3] for number in range(VIDEOS))
FRAMES = 8


class _FullServer(BaseHTTPRequestHandler):
    """Answers one request whenever CONCURRENCY are there, the oldest first: somebody who waits for all answers of a
    video, or of a few, before asking about the next one waits for ever. Says what it was shown."""

    changed: threading.Condition
    held: list[int]
    seen: list[str]

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "seer"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        pictures = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        shown = b" ".join(base64.b64decode(url.split(",")[1]) for url in pictures).decode()
        with self.changed:
            number = len(self.seen)
            self.seen.append(self.headers["X-Request-Id"])
            self.held.append(number)
            self.changed.notify_all()
            full = self.changed.wait_for(
                lambda: self.held[0] == number and (len(self.held) == CONCURRENCY or len(self.seen) == TOTAL), 60
            )
            self.held.remove(number)
            self.changed.notify_all()
        choice = {"message": {"content": shown}, "finish_reason": "stop"}
        self._send(200 if full else 400, {"choices": [choice]})

    def _send(self, status: int, document: Any) -> None:
        answer = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    handler = type("Handler", (_FullServer,), {"changed": threading.Condition(), "held": [], "seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/v1", seen
        listening.shutdown()
        thread.join()


def a_plan(root: Path, endpoint: str) -> Plan:
    captions = {"backend": "openai", "endpoint": endpoint, "revision": "r", "concurrency": CONCURRENCY, "attempts": 1}
    return VIDEO.plan({"captions"}, validated({"captions": captions}), str(root))


def videos(root: Path) -> list[Unit]:
    """Videos whose storyboards hold texts in place of pictures, each of one frame of one video."""

    def typed(table: Table, rows: list[Row]) -> pa.Table:
        common = {"shard": "s", "status": "ok", "fingerprint": "f", "error": None}
        return pa.Table.from_pylist([{**common, **row} for row in rows], schema=table.rows_schema)

    (root / "media").mkdir(parents=True)
    found: list[Unit] = []
    for number in range(VIDEOS):
        video, board, offset = {"video_id": f"v{number}"}, [], 0
        clips = [
            {**video, "clip_id": clip_id(f"v{number}", k * FRAMES, k), "start_frame": k * FRAMES}
            | {"end_frame": (k + 1) * FRAMES, "shot": k, "selected": True, "keeper": True}
            for k in range(CLIPS_EACH[number % 3])
        ]
        with (root / "media" / f"{number}").open("wb") as pack:
            for frame in range(0, FRAMES * len(clips), 2):
                text = f"{number}.{frame}".encode()
                place = {"path": f"media/{number}", "offset": offset, "bytes": len(text)}
                board.append({**video, "frame": frame, "pts_ns": frame * 10**8, **place})
                offset += pack.write(text)
        rows: dict[Table, list[Row]] = {STORYBOARDS: board, **dict.fromkeys((CLIPS, CLIP_SELECTION), clips)}
        rows[DUPLICATE_GROUPS] = clips
        known = {
            table.name: typed(table, [{k: v for k, v in row.items() if k in table.rows_schema.names} for row in each])
            for table, each in rows.items()
        }
        found.append(Unit("s", f"u{number}", known))
    return found


def check(units: list[Unit], seen: list[str]) -> None:
    rows = [row for unit in units for row in unit.rows["captions"].to_pylist()]
    assert len(rows) == len(seen) == TOTAL
    for row in rows:
        assert (row["model"], row["model_revision"]) == ("seer", "r")  # the only model of the server
        frames = range(row["start_frame"], row["end_frame"], 2)
        assert row["text"] == " ".join(f"{row['video_id'][1:]}.{frame}" for frame in frames), row["error"]
    assert sorted(seen) == sorted(f"{row['clip_id']}-{row['start_frame']}" for row in rows)


def test_a_server_always_has_as_many_requests_as_it_takes(server, tmp_path):
    endpoint, seen = server
    check(list(InProcessEngine().run(a_plan(tmp_path, endpoint), videos(tmp_path))), seen)


def test_clips_that_are_too_short_for_a_window_are_not_waited_for(tmp_path: Path) -> None:
    """They get no rows, and so a plan would say at every run that theirs are missing."""
    (unit, *_), plan = videos(tmp_path), a_plan(tmp_path, "http://127.0.0.1:1/v1")
    (stage,) = plan.stages
    clips = unit.rows[CLIPS.name]
    assert stage.eligible is not None
    for frames, eligible in ((FRAMES, True), (4, True), (3, False), (1, False)):
        ends = pc.add(clips["start_frame"], frames)
        shortened = clips.set_column(clips.schema.get_field_index("end_frame"), clips.schema.field("end_frame"), ends)
        assert stage.eligible(plan.config, shortened, unit.rows) == [eligible] * clips.num_rows


def test_the_same_from_a_worker_on_a_cluster(server, tmp_path, attached):
    endpoint, seen = server
    check(list(RayEngine(RayCluster()).run(a_plan(tmp_path, endpoint), videos(tmp_path))), seen)


class _Moody:
    """Refuses what it was shown of a video by its number."""

    model, revision = "moody", "1"

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        number = int(window.frames[0].split(b".")[0])
        time.sleep(0.02)
        if number < 3:
            return Caption("A dog.", "success")
        status: tuple[Literal["blocked", "skipped", "error"], ...] = ("blocked", "skipped", "error")
        return Caption(None, status[number % 3], f"not number {number}")


class _MoodyConfig(CaptionsConfig):
    """Captions without a model."""

    backend: Literal["moody"] = "moody"

    def identity(self) -> tuple[str, str]:
        return "moody", "1"

    def load(self) -> _Moody:
        return _Moody()


def test_a_row_says_how_long_it_took_and_why_it_has_no_text(tmp_path):
    moody = Backends(CaptionsConfig, [_MoodyConfig], "no.such.group")
    listed = (replace(each, section=moody) if each.name == "captions" else each for each in VIDEO.listed)
    graph = replace(VIDEO, listed=tuple(listed))
    plan = graph.plan({"captions"}, graph.config_model("Settings", __name__)(), str(tmp_path))
    rows = [row for unit in InProcessEngine().run(plan, videos(tmp_path)) for row in unit.rows["captions"].to_pylist()]
    assert len(rows) == TOTAL and all(0.02 < row["seconds"] < 5 for row in rows)
    kinds = {"blocked": ("empty", "CaptionBlocked"), "skipped": ("empty", "CaptionSkipped")}
    kinds |= {"error": ("failed", "CaptionError")}
    for row in rows:
        number = int(row["video_id"][1:])
        if number < 3:
            assert (row["status"], row["error"], row["text"]) == ("ok", None, "A dog.")
            assert row["text_digest"] == text_digest("A dog.")
        else:
            status, kind = kinds[row["caption_status"]]
            assert (row["status"], row["error"]["type"]) == (status, kind)
            assert row["error"]["message"] == f"not number {number}" and row["text_digest"] is None

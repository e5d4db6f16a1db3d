"""The forms for GPUs, by Triton's interpreter on a CPU.

Triton is no dependency, because torch brings it where there is a GPU; so it is fetched into a folder for these tests.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRITON = "triton==3.9.0"


@pytest.mark.deep
def test_forms_for_gpus_give_what_their_references_give(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--target", str(tmp_path), TRITON]
    subprocess.run(install, check=True, capture_output=True)
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(Path(__file__).with_name("triton"))]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-1000:]

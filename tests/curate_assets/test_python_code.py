"""The code of the notebook and of the guide on Python runs, as it stands there, in a folder with videos."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(code: list[str], library: Path, folder: Path) -> str:
    (folder / "videos").symlink_to(library / "b")
    environment = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "CURATE_ROOT")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    # A file of its own: what is decoded is decoded in children, which Python starts from where it came from itself.
    (folder / "as_written.py").write_text("\n".join(code))
    command = [sys.executable, "-W", "error::UserWarning:__main__", "as_written.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.deep
def test_the_notebook_runs_from_top_to_bottom(library, tmp_path) -> None:
    cells = json.loads((REPOSITORY / "examples" / "library.ipynb").read_text())["cells"]
    said = run(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"], library, tmp_path)
    assert "3 new videos" in said and "selected" in said and "pictures of" in said


@pytest.mark.deep
def test_the_guide_on_python_runs(library, tmp_path) -> None:
    page = (REPOSITORY / "docs" / "python-api.md").read_text()
    said = run(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL), library, tmp_path)
    assert "rows to compute" in said and "samples" in said

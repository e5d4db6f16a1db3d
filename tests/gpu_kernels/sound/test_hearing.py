"""The sound of made files: levels against FFmpeg's own meter and by hand, times against those of the file."""

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import MediaError, Nursery
from gpu_kernels.scan.scan import ScanChunk, read_scan
from gpu_kernels.scores.audio import AudioScoresConfig, Sound, audio_scores
from gpu_kernels.sound.hearing import read_sound
from gpu_kernels.sound.messages import TENTH_NS, HeardSound, SoundEnd

_PICTURE = "-f lavfi -i testsrc2=s=64x48:r=10:d={seconds}"
_X264 = "-c:v libx264 -preset ultrafast"
_LIVELY = (  # rises and falls, with two pauses: every gate has something to do
    "aevalsrc='0.5*sin(2*PI*(300+200*t)*t)*(0.02+pow(sin(0.7*t)\\,2))*gt(mod(t\\,6)\\,1.5)"
    "|0.3*sin(2*PI*90*t)*gt(mod(t\\,5)\\,1)':s={rate}:d=12"
)


class Heard:
    """All that is heard of a file."""

    def __init__(self, messages: Any) -> None:
        *parts, end = messages
        assert isinstance(end, SoundEnd)
        self.parts: list[HeardSound] = parts
        self.end = end
        times = [part.pts_ns + np.arange(len(part.levels.loudness)) * TENTH_NS for part in parts]
        curves = {name: self.curve(name) for name in ("loudness", "peak", "true_peak", "clipped")}
        pts_ns = np.concatenate([*times, np.zeros(0, np.int64)])
        self.sound = Sound(pts_ns, **curves, speech=None, start_ns=end.start_ns, end_ns=end.end_ns)

    def curve(self, name: str) -> np.ndarray:
        return np.concatenate([*(getattr(part.levels, name) for part in self.parts), np.zeros(0, np.float32)])

    def scores(self, start: float = 0.0, end: float = 1e6) -> Any:
        last = min(int(end * 1e9), int(self.sound.pts_ns[-1]) + TENTH_NS) if len(self.sound.pts_ns) else int(end * 1e9)
        return audio_scores(self.sound, int(start * 1e9), last, AudioScoresConfig())


def heard(nursery: Nursery, path: Path) -> Heard:
    return Heard(read_sound(nursery, str(path), restarts=False))


def by_ffmpeg(path: Path) -> dict[str, float]:
    """Integrated loudness, its range and the true peak, as the ffmpeg program finds them."""
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-i", str(path), "-map", "0:a:0"]
    command += ["-af", "aresample=48000,ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True)
    summary = said.stderr.rpartition("Summary:")[2]
    names = {"loudness": r"I:\s+(\S+) LUFS", "loudness_range": r"LRA:\s+(\S+) LU\b", "true_peak": r"Peak:\s+(\S+) dBFS"}
    return {name: float(re.findall(pattern, summary)[0]) for name, pattern in names.items()}


@pytest.mark.parametrize(
    "sound",
    [
        pytest.param(f"{_LIVELY.format(rate=48000)} -c:a aac", marks=pytest.mark.deep),
        f"{_LIVELY.format(rate=22050)} -c:a pcm_s16le",  # channels that are only counted
        pytest.param(f"{_LIVELY.format(rate=11025)} -ac 1 -c:a pcm_f32le", marks=pytest.mark.deep),
        f"{_LIVELY.format(rate=44100)} -af pan=5.1|FL=c0|FR=c1|FC=0.5*c0|LFE=c1|BL=0.7*c0|BR=0.2*c1 -c:a flac",
        f"{_LIVELY.format(rate=48000)} -af pan=7.1|FL=c0|FR=c1|FC=0.5*c0|LFE=c1|BL=0.7*c0|BR=0.2*c1|SL=c1|SR=0.1*c0 "
        "-c:a aac",
    ],
    ids=["aac", "22050", "11025_mono", "surround", "eight_channels"],
)
def test_loudness_is_that_of_ebur128(nursery: Nursery, media: Any, tmp_path: Path, sound: str) -> None:
    path = media.made(tmp_path / "sound.mkv", f"{_PICTURE.format(seconds=12)} -f lavfi -i {sound} {_X264}")
    scores = heard(nursery, path).scores()
    expected = by_ffmpeg(path)
    assert scores.loudness == pytest.approx(expected["loudness"], abs=0.15)  # which is said to a tenth
    assert scores.loudness_range == pytest.approx(expected["loudness_range"], abs=0.5)
    assert scores.true_peak == pytest.approx(expected["true_peak"], abs=0.2)


def test_a_tone_has_the_levels_that_are_written_in_the_standard(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    # A sine of 997 Hz at full scale in one channel is -3.01 LUFS; a quarter of the rate, moved by 45 degrees, peaks
    # between samples only.
    tones = {"sin(2*PI*997*t)": (-3.01, 0.0, 0.0), "sin(2*PI*12000*t+PI/4)": (None, -3.01, 0.0)}
    for tone, (loudness, peak, true_peak) in tones.items():
        path = media.made(
            tmp_path / "tone.mkv",
            f"{_PICTURE.format(seconds=3)} -f lavfi -i aevalsrc='{tone}':s=48000:d=3 {_X264} -c:a pcm_f32le",
        )
        found = heard(nursery, path)
        middle = slice(5, 25)
        if loudness is not None:
            np.testing.assert_allclose(found.curve("loudness")[middle], loudness, atol=0.05)
        np.testing.assert_allclose(found.curve("peak")[middle], peak, atol=0.02)
        np.testing.assert_allclose(found.curve("true_peak")[middle], true_peak, atol=0.2)


def test_clipping_silence_and_gaps_are_where_they_were_made(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    # One second each: a tone, the tone far too loud, digital silence, quiet noise.
    sound = (
        "aevalsrc='if(lt(t\\,1)\\,0.3*sin(2*PI*440*t)\\,if(lt(t\\,2)\\,clip(4*sin(2*PI*440*t)\\,-1\\,1)\\,"
        "if(lt(t\\,3)\\,0\\,0.0002*(random(0)-0.5))))':s=16000:d=4"
    )
    path = media.made(
        tmp_path / "kinds.mkv", f"{_PICTURE.format(seconds=4)} -f lavfi -i {sound} {_X264} -c:a pcm_s16le"
    )
    found = heard(nursery, path)
    assert len(found.parts) == 4 and [part.anew for part in found.parts] == [True, False, False, False]
    clipped = found.curve("clipped")
    assert clipped[:10].max() == 0 and clipped[20:].max() == 0
    # The sine is over full scale for this share of its time.
    np.testing.assert_allclose(clipped[10:20], 1 - np.arcsin(0.25) / (np.pi / 2), atol=0.08)
    assert [found.scores(at, at + 1).digital_silence for at in range(4)] == pytest.approx([0, 0, 1, 0])
    assert [found.scores(at, at + 1).silent for at in range(4)] == pytest.approx([0, 0, 1, 1], abs=0.11)
    assert found.scores(0.5, 2.5).clipped == pytest.approx(clipped[10:20].mean() / 2, rel=1e-3)


@pytest.mark.parametrize("name", ["offset.ts", "divx.avi", pytest.param("vp9.webm", marks=pytest.mark.deep)])
def test_beeps_are_at_the_times_of_the_pictures(nursery: Nursery, media: Any, name: str) -> None:
    scanned = list(read_scan(nursery, str(media(name)), None, (), sound=True))
    found = Heard([each for each in scanned if isinstance(each, HeardSound | SoundEnd)])
    first_ns = next(each.pts_ns[0] for each in scanned if isinstance(each, ScanChunk))
    loud = (found.sound.pts_ns[found.curve("peak") > -20] - first_ns) / 1e9
    # A beep of 50 ms at every whole second, so in the first tenth of it, whatever tenths begin with.
    assert all(np.abs(loud - second).min() < 0.11 for second in range(4))
    assert all(np.abs(np.arange(4) - at).min() < 0.11 for at in loud)


def test_sound_that_lacks_a_stretch_begins_anew(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    import av

    whole, gap = media("closed_gop.mp4"), tmp_path / "gap.mkv"
    with av.open(str(whole)) as source, av.open(str(gap), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            seconds = float(packet.dts * (packet.time_base or 0))
            if packet.stream.type == "audio" and 1.0 < seconds < 2.5:
                continue
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    found = heard(nursery, gap)
    assert sum(part.anew for part in found.parts) == 2
    scores = found.scores(0.0, 4.0)
    assert scores.missing == pytest.approx(1.5 / 4, abs=0.04)
    assert (scores.starts_late_s, scores.ends_early_s) == pytest.approx((0, 0), abs=0.03)
    assert found.scores(1.2, 2.4).missing == 1 and found.scores(1.2, 2.4).loudness == -70


def test_sound_goes_on_with_the_pictures_where_the_clock_starts_again(
    nursery: Nursery, media: Any, tmp_path: Path
) -> None:
    joined = tmp_path / "joined.ts"
    joined.write_bytes(media("offset.ts").read_bytes() * 2)
    scanned = list(read_scan(nursery, str(joined), None, (), sound=True, restarts=True))
    found = Heard([each for each in scanned if isinstance(each, HeardSound | SoundEnd)])
    pts_ns = np.concatenate([each.pts_ns for each in scanned if isinstance(each, ScanChunk)])
    assert len(pts_ns) == 240
    loud = found.sound.pts_ns[found.curve("peak") > -20]
    for half in (0, 120):
        seconds = (loud - pts_ns[half]) / 1e9
        assert all(np.abs(seconds - second).min() < 0.11 for second in range(4))
    assert len(loud) <= 16


def test_a_scan_hears_what_is_heard_alone_and_its_frames_stay(nursery: Nursery, media: Any) -> None:
    path = str(media("closed_gop.mp4"))
    scanned = list(read_scan(nursery, path, None, (), sound=True))
    alone = heard(nursery, Path(path))
    beside = Heard([each for each in scanned if isinstance(each, HeardSound | SoundEnd)])
    assert beside.end == alone.end and len(beside.parts) == len(alone.parts) == 4
    for curve in ("loudness", "peak", "true_peak", "clipped", "voice"):
        np.testing.assert_array_equal(beside.curve(curve), alone.curve(curve))
    frames = [each.thumbnails for each in scanned if isinstance(each, ScanChunk)]
    silent = [each.thumbnails for each in read_scan(nursery, path, None, ()) if isinstance(each, ScanChunk)]
    np.testing.assert_array_equal(np.concatenate(frames), np.concatenate(silent))


def test_broken_sound_costs_no_frame(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    import av

    broken, random = tmp_path / "broken.mkv", np.random.default_rng(5)
    with av.open(str(media("closed_gop.mp4"))) as source, av.open(str(broken), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for number, packet in enumerate(source.demux()):
            if packet.dts is None:
                continue
            of = streams[packet.stream.index]
            if packet.stream.type == "audio" and number % 3:
                noise = av.Packet(random.integers(0, 256, packet.size, np.uint8).tobytes())
                noise.pts, noise.dts, noise.time_base = packet.pts, packet.dts, packet.time_base
                packet = noise
            packet.stream = of
            target.mux(packet)
    scanned = list(read_scan(nursery, str(broken), None, (), sound=True))
    (end,) = (each for each in scanned if isinstance(each, SoundEnd))
    assert end.decode_errors > 20
    assert sum(len(each.pts_ns) for each in scanned if isinstance(each, ScanChunk)) == 120


def test_a_file_without_sound_is_an_error_that_says_so(nursery: Nursery, media: Any) -> None:
    with pytest.raises(MediaError, match="no sound"):
        heard(nursery, media("one_frame.mp4"))

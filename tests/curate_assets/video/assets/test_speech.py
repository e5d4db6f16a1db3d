"""`speech`: known sentences, in the right clips and at the right times."""

import re
import wave
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.signal import resample_poly

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.speech import SPEECH
from curate_assets.video.assets.scan import SCAN
from curate_assets.video.assets.source_videos import PROBE, SOURCE_VIDEOS
from curate_assets.video.assets.speech_tracks import SPEECH_TRACKS
from curate_assets.video.graph import VIDEO
from gpu_kernels.sound.track import flac

SECOND = 1_000_000_000
RATE = 16_000
SETTINGS: dict[str, Any] = {"speech": {"enabled": True, "beam_size": 1}}
SENTENCE = "We will meet again at the station tomorrow morning."


def plain(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


@pytest.fixture(scope="module")
def spoken(speaker: ModuleType) -> np.ndarray:
    """The sentence, int16 at 16 kHz."""
    return (resample_poly(speaker.said("en-us", SENTENCE).samples, 320, 441).clip(-1, 1) * 32767).astype(np.int16)


@pytest.fixture
def root(spoken: np.ndarray, tmp_path: Path) -> TemporaryRoot:
    """`talk` says the sentence from second 23 of its clock on; `noise` says nothing, and `mute` has no sound."""
    root, videos = TemporaryRoot(tmp_path), ("mute", "noise", "talk")
    root.add("x", [f"/videos/{name}.mp4" for name in videos])
    sources = ({"uri": f"/videos/{name}.mp4", "video_id": name, "width": 64, "height": 48} for name in videos)
    root.store(SOURCE_VIDEOS, "x", [*sources])
    hiss = np.random.default_rng(0).integers(-900, 900, 8 * RATE).astype(np.int16)
    tracks: list[dict[str, Any]] = [{"video_id": "mute", "piece": 0, "status": "empty"}]
    for video, piece, start, samples in (
        ("noise", 0, 0, hiss),
        ("talk", 0, 20, np.concatenate([np.zeros(3 * RATE, np.int16), spoken, np.zeros(RATE, np.int16)])),
        ("talk", 1, 40, hiss),
    ):
        path = f"media/speech_tracks/{video}/{piece}.flac"
        root.storage.write(path, flac(samples))
        end_ns = start * SECOND + len(samples) * SECOND // RATE
        tracks.append(
            {"video_id": video, "piece": piece, "start_ns": start * SECOND, "end_ns": end_ns, "path": path, "bytes": 1}
        )
    root.storage.write("media/speech_tracks/talk/1.flac", b"fLaC damaged")
    root.store(SPEECH_TRACKS, "x", tracks)
    # The sentence is cut between "station" and "tomorrow".
    spans = {"mute": [(0, 4)], "noise": [(0, 8)], "talk": [(20, 24.58), (24.58, 30), (30, 38), (38, 44)]}
    root.store(CLIPS, "x", [*clips(spans)])
    return root


def clips(spans: dict[str, list[tuple[float, float]]]) -> Iterator[dict[str, Any]]:
    for video, of_video in spans.items():
        for shot, (start, end) in enumerate(of_video):
            times = {"start_ns": int(start * SECOND), "end_ns": int(end * SECOND)}
            frames = {"start_frame": int(start * 25), "end_frame": int(end * 25)}
            yield {"video_id": video, "clip_id": f"{video}-{start:g}", "shot": shot, **frames, **times}


def test_a_sentence_is_found_in_its_clips_at_its_time_and_what_fails_fails_alone(root, speaker) -> None:
    (done,) = root.materialize(VIDEO, SPEECH.name)
    assert done.computed == 0 and root.rows(SPEECH) == []  # nobody asked for it
    root.materialize(VIDEO, SPEECH.name, settings=SETTINGS)
    rows = {row["clip_id"]: row for row in root.rows(SPEECH)}
    before, after = rows["talk-20"], rows["talk-24.58"]
    assert plain(before["text"]) == plain(SENTENCE)[:7] and plain(after["text"]) == plain(SENTENCE)[7:]
    assert (before["speech_status"], before["language"], before["language_probability"]) == ("words", "en", 1)
    words = [*before["words"], *after["words"]]
    assert [plain(word["word"])[0] for word in words] == plain(SENTENCE)
    true = {name: at for name, at in speaker.said("en-us", SENTENCE).words if at is not None}
    late = [word["start_ns"] / SECOND - 23 - true[word["word"].strip(".")] for word in words if word["word"] in true]
    assert len(late) >= 6 and max(map(abs, late)) < 0.3
    assert all(word["start_ns"] < word["end_ns"] and 0 < word["probability"] <= 1 for word in words)
    assert before["words_per_second"] == pytest.approx(7 / 4.58) and 0 < before["spoken"] < 0.5
    # There is no sound between the pieces, and the last one is damaged.
    assert rows["talk-30"]["speech_status"] == "no_sound" and rows["talk-38"]["status"] == "failed"
    assert "talk/1.flac is damaged" in rows["talk-38"]["error"]["message"]
    assert rows["mute-0"]["speech_status"] == "no_sound" and rows["noise-0"]["speech_status"] == "no_words"
    for name in ("mute-0", "noise-0", "talk-30"):
        row = rows[name]
        assert (row["text"], row["words"], row["words_per_second"], row["spoken"]) == ("", [], 0, 0), name
        assert row["language"] is None and row["model"] == "whisper_tiny_en+silero_vad"


@pytest.mark.deep
def test_it_is_switched_on_and_off_without_changing_anything_else(spoken, media, tmp_path) -> None:
    """From a file: one decode stores the track with the pictures, or the sound alone is read where these are there."""
    sound = np.concatenate([np.zeros(2 * RATE, np.int16), spoken, np.zeros(2 * RATE, np.int16)])
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    made = f"-f lavfi -i testsrc2=s=96x64:r=25:d=6 -i {tmp_path / 'talk.wav'} -c:v libx264 -c:a aac"
    path = media.made(tmp_path / "talk.mp4", made)
    settings: dict[str, Any] = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}}
    names = [table.name for stage in (PROBE, SCAN) for table in stage.writes]
    names += ["clips", "motion_scores", SPEECH.name]
    rows = {}
    for case, wanted in {"on": SETTINGS, "off": {}, "later": SETTINGS}.items():
        root = TemporaryRoot(tmp_path / ("on" if case == "on" else "root"))
        if case != "later":
            root.add("x", [str(path)])
        root.materialize(VIDEO, *names, settings=settings | wanted)
        rows[case] = {name: root.rows(VIDEO.tables[name]) for name in names}
    assert rows["off"].pop(SPEECH.name) == rows["off"].pop(SPEECH_TRACKS.name) == []
    assert rows["on"] == rows["later"] and rows["off"].items() <= rows["on"].items()
    (row,) = rows["on"][SPEECH.name]
    assert plain(row["text"]) == plain(SENTENCE)

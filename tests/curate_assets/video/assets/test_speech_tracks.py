"""`speech_tracks`: the very samples of a sound at 16 kHz, in files that clean-ups know."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets import source_videos
from curate_assets.video.assets.scan import open_scanner
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.speech_tracks import SPEECH_TRACKS
from curate_resources.declarations.stage import Work
from gpu_kernels.sound.track import samples_of


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(3).integers(-3000, 3000, 75 * 16_000).astype(np.int16)


@pytest.fixture(scope="module")
def noise(samples: np.ndarray, media: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a quarter of noise at 16 kHz, stored without loss, under a picture."""
    folder = tmp_path_factory.mktemp("noise")
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    picture = "-f lavfi -i color=s=32x32:r=10:d=75"
    return media.made(folder / "noise.mkv", f"{picture} -i {folder / 'noise.wav'} -c:v libx264 -c:a pcm_s16le")


class Scanner:
    """Scans of one file, as the stage's worker makes them."""

    def __init__(self, path: Path, root: TemporaryRoot) -> None:
        config = validated({"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}})
        probed: Any = source_videos.open_prober(config, root.storage)
        schema = SOURCE_VIDEOS.rows_schema
        items = schema.empty_table().from_pylist([{"uri": str(path)}], schema)
        (row,) = probed(Work(items, {}, frozenset({SOURCE_VIDEOS.name}), {}))[SOURCE_VIDEOS.name]
        self._items = items.from_pylist([row], schema)
        self._config, self._storage = config, root.storage
        probed.close()

    def rows(self, *wanted: str, early: Any = None) -> list[dict[str, Any]]:
        prints = {name: ["0" * 16] for name in wanted}
        scan: Any = open_scanner(self._config, self._storage)
        try:
            return scan(Work(self._items, {}, frozenset(wanted), prints, None, early))[SPEECH_TRACKS.name]
        finally:
            scan.close()


def test_the_track_has_the_samples_of_the_sound_and_its_beginning_goes_ahead(noise, samples, tmp_path) -> None:
    root = TemporaryRoot(tmp_path)
    scanner, beginnings = Scanner(noise, root), list[Any]()
    rows = scanner.rows(SPEECH_TRACKS.name, SHOT_SIGNALS.name, early=beginnings.append)
    assert len(rows) == 3 and all(row["end_ns"] - row["start_ns"] <= 28e9 for row in rows)
    stored = [samples_of(root.storage.read(row["path"]), row["path"]) for row in rows]
    np.testing.assert_array_equal(np.concatenate(stored), samples)
    assert all(root.storage.size(row["path"]) == row["bytes"] for row in rows)
    assert [row["end_ns"] for row in rows[:-1]] == [row["start_ns"] for row in rows[1:]]
    assert scanner.rows(SPEECH_TRACKS.name) == rows  # from the sound alone
    assert beginnings
    for beginning in beginnings:  # frames go ahead only as far as what is said in them is stored
        (shots,), pieces = beginning[SHOT_SIGNALS.name], beginning[SPEECH_TRACKS.name]
        assert pieces == rows[: len(pieces)] and shots["pts_ns"][-1] <= pieces[-1]["end_ns"]


def test_a_video_without_sound_has_one_empty_row(media, tmp_path) -> None:
    root = TemporaryRoot(tmp_path)
    (row,) = Scanner(media("one_frame.mp4"), root).rows(SPEECH_TRACKS.name, SHOT_SIGNALS.name)
    assert row["status"] == "empty" and root.storage.folders("media") == []

"""The truth of the demo library against its files, as an independent decoder sees them."""

import itertools
import shutil
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from curate_cli import demo_library
from curate_cli.commands import demo as demo_command
from curate_cli.commands.demo import demo_settings
from curate_cli.demo_library import DemoTruth, make_library
from curate_cli.demo_videos import DEMO_VIDEOS, DemoVideo

pytestmark = pytest.mark.deep  # the library is encoded for them

READABLE = [video for video in DEMO_VIDEOS if video.expected != "failed"]
JUDGED_BY_CUTS = [video for video in READABLE if video.cuts and not video.gradual]
BY_PATH = {video.path: video for video in DEMO_VIDEOS}


@dataclass(frozen=True)
class Decoded:
    """A file as decoded: `pixels` float32 (frames, 18, 32), grey in 0..255; `times` in seconds."""

    codec: str
    sounds: int
    stored_size: tuple[int, int]
    pixel_shape: Fraction | None
    rotation: int
    times: tuple[Fraction, ...]
    keyframes: tuple[int, ...]
    pixels: NDArray[np.float32]

    @property
    def changes(self) -> NDArray[np.float32]:
        """Mean absolute difference of each frame from the one before; 0 for the first."""
        return np.abs(np.diff(self.pixels, axis=0, prepend=self.pixels[:1])).mean(axis=(1, 2))


def decode(path: Path) -> Decoded:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times, keyframes, pixels, rotations = [], [], [], set[int]()
        for index, frame in enumerate(container.decode(stream)):
            assert frame.pts is not None and frame.time_base is not None
            times.append(frame.pts * frame.time_base)
            rotations.add(frame.rotation)
            if frame.key_frame:
                keyframes.append(index)
            pixels.append(frame.reformat(width=32, height=18, format="gray", interpolation="AREA").to_ndarray())
        (rotation,) = rotations
        return Decoded(
            codec=stream.codec_context.codec.canonical_name,
            sounds=len(container.streams.audio),
            stored_size=(stream.width, stream.height),
            pixel_shape=stream.sample_aspect_ratio,
            rotation=rotation,
            times=tuple(times),
            keyframes=tuple(keyframes),
            pixels=np.stack(pixels).astype(np.float32),
        )


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> DemoTruth:
    return make_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def decoded(library: DemoTruth) -> dict[str, Decoded]:
    return {video.path: decode(library.folder / video.path) for video in READABLE}


def standardised(file: Decoded) -> NDArray[np.float32]:
    """Frames as rows whose products are correlations."""
    rows = file.pixels.reshape(len(file.pixels), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def name(video: DemoVideo) -> str:
    return video.path


def test_the_folder_holds_the_table_and_nothing_else(library: DemoTruth) -> None:
    found = {path.relative_to(library.folder).as_posix() for path in library.folder.rglob("*") if path.is_file()}
    assert found == set(BY_PATH)
    assert {Path(path).parent.name for path in found} == {"camera_a", "camera_b"}


@pytest.mark.parametrize("video", READABLE, ids=name)
def test_file_is_as_described(video: DemoVideo, decoded: dict[str, Decoded]) -> None:
    file = decoded[video.path]
    assert len(file.times) == video.frames
    assert file.codec == ("vp9" if video.kind == "vp9" else "h264")
    assert file.sounds == int(video.has_sound or video.narrated)
    assert (file.stored_size, file.rotation) == ((video.size[::-1], -90) if video.rotated else (video.size, 0))
    assert file.pixel_shape in (1, None)
    assert max(np.diff([*file.keyframes, video.frames])) <= round(2 * video.rate)
    # Rounded, because WebM's clock counts milliseconds.
    steps = {round((b - a) * video.rate, 1) for a, b in itertools.pairwise(file.times)}
    assert steps == ({1, 2} if video.drop_every else {1})
    assert file.times[0] == 0


@pytest.mark.parametrize("video", READABLE, ids=name)
def test_every_shot_but_the_short_one_is_long_enough_for_a_clip(video: DemoVideo, decoded: dict[str, Decoded]) -> None:
    times = decoded[video.path].times
    for start, end in video.shots:
        lasting = [time for time in times[start:end] if times[start] + 0.5 <= time < times[end - 1] - 0.5]
        roomy = len(lasting) >= 48 and lasting[-1] - lasting[0] >= 2
        assert roomy == (video.expected == "ok"), (start, end, len(lasting))


@pytest.mark.parametrize("video", JUDGED_BY_CUTS, ids=name)
def test_the_largest_changes_are_exactly_the_cuts(video: DemoVideo, decoded: dict[str, Decoded]) -> None:
    largest_first = np.argsort(-decoded[video.path].changes)
    assert sorted(largest_first[: len(video.cuts)]) == list(video.cuts)


def test_dissolve_mixes_both_shots_and_fade_goes_through_black(decoded: dict[str, Decoded]) -> None:
    (video,) = (video for video in READABLE if video.kind == "gradual")
    pixels = decoded[video.path].pixels
    (first, last), (fade_first, fade_last) = video.gradual
    middle, old, new = (pixels[index].ravel() for index in ((first + last) // 2, first - 1, last + 1))
    shares, *_ = np.linalg.lstsq(np.stack([old, new], axis=1), middle)
    assert shares == pytest.approx([0.5, 0.5], abs=0.2)
    dark = np.flatnonzero(pixels.mean(axis=(1, 2)) < 10)
    assert dark.size
    assert fade_first <= dark.min() <= dark.max() <= fade_last
    assert video.cuts == ()


def test_only_the_still_does_not_move(decoded: dict[str, Decoded]) -> None:
    for video in READABLE:
        for start, end in video.shots:
            change = decoded[video.path].changes[start + 1 : end].mean()
            assert (change < 0.05) if video.kind == "still" else (change > 0.5), (video.path, start, change)


@pytest.mark.parametrize("video", [video for video in READABLE if video.duplicate_of], ids=name)
def test_what_is_most_like_a_duplicate_is_the_same_shot_of_its_original(
    video: DemoVideo, library: DemoTruth, decoded: dict[str, Decoded]
) -> None:
    assert video.duplicate_of is not None
    originals = [other for other in READABLE if not other.duplicate_of]
    shots = [(other.path, shot) for other in originals for shot in other.shots]
    scored = np.stack(
        [
            (standardised(decoded[video.path]) @ standardised(decoded[path])[start:end].T).max(axis=1)
            for path, (start, end) in shots
        ]
    )
    for start, end in video.shots:
        nearest = {shots[index] for index in scored[:, start:end].argmax(axis=0)}
        assert nearest == {(video.duplicate_of, (start, end))}
    assert (library.folder / video.path).read_bytes() != (library.folder / video.duplicate_of).read_bytes()


@pytest.mark.parametrize("video", [video for video in DEMO_VIDEOS if video.expected == "failed"], ids=name)
def test_broken_files_cannot_be_opened(video: DemoVideo, library: DemoTruth) -> None:
    assert (library.folder / video.path).stat().st_size
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(library.folder / video.path))


def test_missing_files_are_made_alike_and_present_ones_kept(library: DemoTruth, tmp_path: Path) -> None:
    again = Path(shutil.copytree(library.folder, tmp_path / "again"))
    kinds = {"sound", "vp9", "rotated", "variable_rate", "truncated"}
    missing = [video.path for video in DEMO_VIDEOS if video.kind in kinds or video.gain]
    for path in missing:
        (again / path).unlink()
    (again / "camera_b/frozen.mp4").write_bytes(b"mine")
    make_library(again)
    assert (again / "camera_b/frozen.mp4").read_bytes() == b"mine"
    for path in missing:
        assert (again / path).read_bytes() == (library.folder / path).read_bytes(), path


def test_failure_names_the_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = BY_PATH["camera_b/glimpse.mp4"]
    broken = replace(video, takes=(replace(video.takes[0], grade="no_such_filter"),))
    monkeypatch.setattr(demo_library, "DEMO_VIDEOS", (broken,))
    with pytest.raises(RuntimeError, match=r"camera_b/glimpse\.mp4[\s\S]*no_such_filter"):
        make_library(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_demo_measures_what_is_installed_and_says_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    there = validated(yaml.safe_load(demo_settings()))
    assert there.borders.enabled and there.clip_selection.border_share_max == 0.02
    monkeypatch.setattr(demo_command, "find_spec", lambda name: None)
    without = demo_settings()
    assert "faces: {enabled: false}  # pip install 'curate-graph[measurements]' brings yuface" in without
    assert validated(yaml.safe_load(without)).borders.enabled


REASONS = {
    "letterbox.mp4": "border_share_high",
    "high_iso.mp4": "noise_high",
    "broadcast.mp4": "overlay_text_share_high",
    "stalled.mp4": "frozen_share_high",
    "overdriven.mp4": "sound_clipped_high",
    "out_of_focus.mp4": "blur_high",
    "station.mp4": "graphics_area_high",
    "poster.mp4": "words_read_high",
    "portrait.mp4": "face_largest_high",
    "narrated.mp4": "words_per_second_high",
    "shaken.mp4": "camera_jitter_high",
}


def test_what_is_wrong_with_a_clip_is_the_one_reason_against_it(library: DemoTruth, tmp_path: Path) -> None:
    flawed = [video.path for video in library.videos if video.kind == "flawed"]
    root = TemporaryRoot(tmp_path)
    root.add("x", [str(library.folder / path) for path in flawed])
    made = [table.name for stage in VIDEO.phases[0].stages for table in stage.writes]
    root.materialize(VIDEO, *made, settings=yaml.safe_load(demo_settings()))
    files = {row["video_id"]: Path(row["uri"]).name for row in root.rows(SOURCE_VIDEOS)}
    found = [(files[row["video_id"]], row["reasons"]) for row in root.rows(CLIP_SELECTION)]
    assert sorted(found) == sorted((name, [reason]) for name, reason in REASONS.items())

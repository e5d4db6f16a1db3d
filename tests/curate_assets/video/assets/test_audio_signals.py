"""`audio_signals`: sound from the scan itself, whole and in segments, and from the sound alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets import source_videos
from curate_assets.video.assets.audio_signals import AUDIO_SIGNALS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.audio_scores import AUDIO_SCORES
from curate_assets.video.assets.scan import SCAN, join_segments, open_scanner
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS
from curate_assets.video.assets.source_videos import PROBE, SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import Work
from curate_resources.storage.root import Storage
from gpu_kernels.media import segments

# A tone, then a pause, then another tone; the second channel of another stream is louder and not the default.
_TONES = "aevalsrc='0.25*sin(2*PI*(500+300*floor(t/9))*t)*gt(abs(t-9)\\,2)':s=44100:d=15"
_VIDEO = (
    f"-f lavfi -i testsrc2=s=96x64:r=25:d=15 -f lavfi -i {_TONES} -f lavfi -i sine=3000:d=15 -map 0 -map 1 -map 2 "
    "-c:v libx264 -preset ultrafast -g 40 -bf 2 -c:a aac -disposition:a:1 0"
)


class Scanner:
    """Scans of one file, as the stage's worker makes them."""

    def __init__(self, path: Path, folder: Path, **audio: Any) -> None:
        settings = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}}
        config = validated(settings | {"audio_signals": {"enabled": True, **audio}})
        probed = source_videos.open_prober(config, Storage(str(folder)))
        items = SOURCE_VIDEOS.rows_schema.empty_table().from_pylist([{"uri": str(path)}], SOURCE_VIDEOS.rows_schema)
        (row,) = probed(Work(items, {}, frozenset({SOURCE_VIDEOS.name}), {}))[SOURCE_VIDEOS.name]  # type: ignore[operator]
        self.items = items.from_pylist([row], SOURCE_VIDEOS.rows_schema)
        self._worker: Any = open_scanner(config, Storage(str(folder)))

    def rows(self, *wanted: str, segment: tuple[int, int] | None = None, early: Any = None) -> Any:
        work = Work(self.items, {}, frozenset(wanted), {name: ["0" * 16] for name in wanted}, segment, early)
        return self._worker(work)


def same(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def tones(media: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.made(tmp_path_factory.mktemp("tones") / "tones.mp4", _VIDEO)


def test_segments_and_the_sound_alone_give_the_rows_of_one_scan(tones, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 130)
    monkeypatch.setattr(source_videos, "SEGMENT_FRAMES", 130)
    scanner, both = Scanner(tones, tmp_path), (AUDIO_SIGNALS.name, SHOT_SIGNALS.name)
    (whole,) = scanner.rows(*both)[AUDIO_SIGNALS.name]
    assert len(whole["pts_ns"]) == len(whole["speech"]) == 150 and whole["audio_error"] is None
    # The default stream, and its pause: the other one is a sine without any.
    loud = whole["loudness"] > -40
    times = whole["pts_ns"] / 1e9
    assert not loud[(times > 7.2) & (times < 10.7)].any() and loud[(times < 6.8) | (times > 11.2)][:-1].all()
    (alone,) = scanner.rows(AUDIO_SIGNALS.name)[AUDIO_SIGNALS.name]
    assert same(alone, whole)
    parts = [scanner.rows(*both, segment=(index, 3)) for index in range(3)]
    typed = [
        {
            table.name: table.rows_schema.empty_table().from_pylist(part[table.name], table.rows_schema)
            for table in SCAN.writes
            if table.name in both
        }
        for part in parts
    ]
    (joined,) = join_segments(typed)[AUDIO_SIGNALS.name].to_pylist()
    assert all(np.array_equal(joined[name], whole[name]) for name in whole)


def test_what_goes_ahead_of_a_video_has_all_its_sound(tones, tmp_path) -> None:
    """Of clips that go ahead, nothing may change later: their frames end where the sound is known."""
    scanner, beginnings = Scanner(tones, tmp_path), list[Any]()
    whole = scanner.rows(AUDIO_SIGNALS.name, SHOT_SIGNALS.name, early=beginnings.append)[AUDIO_SIGNALS.name][0]
    assert beginnings
    for beginning in beginnings:
        (shots,), (sound,) = beginning[SHOT_SIGNALS.name], beginning[AUDIO_SIGNALS.name]
        end_ns = shots["pts_ns"][-1]
        assert shots["frames"] == len(shots["pts_ns"]) and end_ns > 2e9
        count = int(np.searchsorted(whole["pts_ns"], end_ns))
        assert len(sound["pts_ns"]) >= count
        for curve in ("loudness", "true_peak", "clipped", "speech"):
            np.testing.assert_array_equal(sound[curve][:count], whole[curve][:count])


def test_a_video_without_sound_and_one_whose_sound_is_broken_have_empty_rows(media, tmp_path) -> None:
    for name in ("one_frame.mp4", "bad.mkv"):
        path = media(name) if name == "one_frame.mp4" else _without_data(media, tmp_path / name)
        scanner = Scanner(path, tmp_path, voice_detector="none")
        found = scanner.rows(AUDIO_SIGNALS.name, SHOT_SIGNALS.name)
        (row,), (shots,) = found[AUDIO_SIGNALS.name], found[SHOT_SIGNALS.name]
        assert row["status"] == "empty" and len(row["loudness"]) == 0 and shots["frames"] > 0
        assert (row["audio_error"] is None) == (name == "one_frame.mp4")
        (alone,) = scanner.rows(AUDIO_SIGNALS.name)[AUDIO_SIGNALS.name]
        assert same(alone, row)


def _without_data(media: Any, target: Path) -> Path:
    """A file whose packets of sound are all damaged."""
    import av

    with av.open(str(media("closed_gop.mp4"))) as source, av.open(str(target), "w") as written:
        streams = {stream.index: written.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            of = streams[packet.stream.index]
            if packet.stream.type == "audio":
                damaged = av.Packet(b"\x55" * packet.size)
                damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                packet = damaged
            packet.stream = of
            written.mux(packet)
    return target


def test_a_video_that_goes_ahead_is_heard_or_not_as_it_is_asked_for(tones, tmp_path) -> None:
    root = TemporaryRoot(tmp_path / "root")
    root.add("x", [str(tones)])
    settings: dict[str, Any] = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}}
    names = [table.name for stage in (PROBE, SCAN) for table in stage.writes] + ["clips", "audio_scores"]
    root.materialize(VIDEO, *names, settings=settings)
    assert [row["status"] for row in root.rows(SHOT_SIGNALS)] == ["ok"] and root.rows(AUDIO_SIGNALS) == []
    settings |= {"audio_signals": {"enabled": True, "voice_detector": "none"}}
    done = {each.table: each for each in root.materialize(VIDEO, *names, settings=settings)}
    assert done["storyboards"].computed == 1 and len(root.rows(AUDIO_SIGNALS)[0]["pts_ns"]) == 150
    scores = root.rows(AUDIO_SCORES)
    assert len(scores) == len(root.rows(CLIPS)) > 0 and {row["status"] for row in scores} == {"ok"}

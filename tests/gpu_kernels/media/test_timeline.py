"""Files whose clock starts again, jumps, strays or is in decoding order: their frames go on evenly."""

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av import Packet
from av.format import ContainerFormat

from gpu_kernels.media.epochs import epochs_of
from gpu_kernels.media.timeline import Epoch, Follower, epochs, on_one_clock
from gpu_kernels.sandbox import Nursery
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan.scan import ScanChunk, read_scan

X264 = "-c:v libx264 -preset ultrafast -crf 18 -bf 2 -g 50 -x264-params scenecut=0 -pix_fmt yuv420p"
MPEG2 = "-c:v mpeg2video -q:v 3 -bf 2 -g 25"


def joined(media: Any, folder: Path, suffix: str, codecs: str, second: str = "") -> Path:
    """The first and the second half of the numbered video, each with a clock of its own, one after the other."""
    numbered = media("numbered.mkv")
    halves = [
        media.made(folder / f"{index}.{suffix}", f"{part} -i {numbered} {codecs}")
        for index, part in enumerate(("-t 6", "-ss 6"))
    ]
    if second:
        media.made(halves[1], f"-ss 6 -i {numbered} {codecs} {second}")
    path = folder / f"joined.{suffix}"
    path.write_bytes(b"".join(half.read_bytes() for half in halves))
    return path


def times_of(nursery: Nursery, path: Path) -> np.ndarray:
    """The frames' times as a scan gives them, in seconds."""
    parts = [part for part in read_scan(nursery, str(path), None, ()) if isinstance(part, ScanChunk)]
    return np.concatenate([part.pts_ns for part in parts]) / 1e9


@pytest.mark.parametrize(
    ("suffix", "codecs", "second"),
    [
        ("ts", f"{X264} -c:a aac", ""),
        ("ts", f"{MPEG2} -c:a mp2", ""),
        ("vob", f"{MPEG2} -c:a mp2 -f vob", ""),
        ("mkv", f"{X264} -c:a aac", ""),
        ("ts", f"{X264} -c:a aac", "-output_ts_offset 100"),
        ("ts", f"{X264} -c:a aac", "-output_ts_offset 5.96"),
    ],
    ids=["ts", "mpeg2_ts", "vob", "mkv", "cut_out", "overlap"],
)
def test_times_go_on_where_the_clock_starts_again(
    nursery: Nursery, media: Any, tmp_path: Path, suffix: str, codecs: str, second: str
) -> None:
    path = joined(media, tmp_path, suffix, codecs, second)
    times = times_of(nursery, path)
    np.testing.assert_allclose(times - times[0], np.arange(300) / 25, rtol=0, atol=0.002)
    ((facts, _),) = nursery.run(
        "gpu_kernels.media.containers:probe", raw, [str(path)], path=str(path), segment_frames=100
    )
    assert (facts["frames"], facts["clock_restarts"], facts["incomplete"]) == (300, 1, False)
    assert facts["duration_ns"] == pytest.approx(12e9, abs=1e6)
    assert facts["segment_pts_ns"] == []  # no frame can be found in the file by its time on the running clock


@pytest.mark.parametrize("codecs", [X264, "-c:v mpeg4 -bf 2 -q:v 3 -g 50"], ids=["h264", "mpeg4"])
def test_frames_are_evenly_spaced_where_only_decoding_times_are_stored(
    nursery: Nursery, media: Any, tmp_path: Path, codecs: str
) -> None:
    path = media.made(tmp_path / "b_frames.avi", f"-i {media('numbered.mkv')} {codecs} -c:a mp3")
    np.testing.assert_allclose(times_of(nursery, path), np.arange(300) / 25, rtol=0, atol=1e-6)


class _File:
    """Of an opened file, what the clock asks for."""

    def __init__(self, name: str) -> None:
        self.format = ContainerFormat(name, "r")


def _packets(*dts: int | None, duration: int = 1) -> list[Any]:
    packets: list[Any] = []
    for time in dts:
        packet = Packet(b"data")
        packet.dts, packet.pts, packet.time_base, packet.duration = time, time, Fraction(1, 10), duration
        packet.is_keyframe = True
        packets.append(packet)
    return packets


def _on_one_clock(name: str, *dts: int | None) -> list[int | None]:
    return [timed.packet.pts for timed in on_one_clock(cast(Any, _File(name)), _packets(*dts))]


def test_a_single_stray_time_is_dropped_and_moves_nothing() -> None:
    assert _on_one_clock("matroska", 0, 1, 500, 3, 4) == [0, 1, None, 3, 4]
    assert _on_one_clock("mpegts", 100, 101, 2, 103, 104) == [100, 101, None, 103, 104]


def test_pauses_stay_where_formats_allow_no_jumps() -> None:
    assert _on_one_clock("matroska", 0, 1, 500, 501) == [0, 1, 500, 501]
    assert _on_one_clock("mpegts", 0, 1, 500, 501) == [0, 1, 2, 3]
    assert _on_one_clock("mpegts", 0, 1, 50, 51) == [0, 1, 50, 51]


def test_a_time_lapse_is_no_series_of_cuts() -> None:
    packets = _packets(0, 600, 1200, 9000, duration=600)
    assert [timed.packet.pts for timed in on_one_clock(cast(Any, _File("mpegts")), packets)] == [0, 600, 1200, 1800]


def test_a_recording_that_overlaps_the_one_before_it_follows_it() -> None:
    assert _on_one_clock("mpegts", 4, 5, 6, 5, 6, 7, 8) == [4, 5, 6, 7, 8, 9, 10]
    assert _on_one_clock("mpegts", 4, 5, 6, 5, 7, 8) == [4, 5, 6, 5, 7, 8]  # jitter
    apart = _packets(4, 5, 6, 5, 6, 7)
    apart[3].is_keyframe = False
    assert [timed.packet.pts for timed in on_one_clock(cast(Any, _File("mpegts")), apart)] == [4, 5, 6, 5, 6, 7]


def test_no_frame_is_lost_where_a_clock_jumps_between_keyframes(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """An encoder whose clock was set while it ran: the frames after it still refer to those before."""
    source = media.made(tmp_path / "one.mp4", f"-t 2 -i {media('numbered.mkv')} -an {X264} -bf 0 -g 500")
    data = b""
    for part in range(2):
        with av.open(str(source)) as opened, av.open(str(path := tmp_path / f"{part}.ts"), "w") as written:
            stream = written.add_stream_from_template(opened.streams.video[0])
            for number, packet in enumerate(opened.demux(video=0)):
                if packet.size and number // 25 == part:
                    packet.pts -= part * opened.streams.video[0].time_base.denominator
                    packet.dts, packet.stream = packet.pts, stream
                    written.mux(packet)
        data += path.read_bytes()
    (path := tmp_path / "jump.ts").write_bytes(data)
    times = times_of(nursery, path)
    np.testing.assert_allclose(times - times[0], np.arange(50) / 25, rtol=0, atol=0.002)


def test_looking_for_restarts_shows_signs_of_life(media: Any, tmp_path: Path) -> None:
    part = media.made(tmp_path / "a.ts", "-f lavfi -i testsrc=s=64x36:r=100:d=11 -c:v mpeg2video")
    (path := tmp_path / "twice.ts").write_bytes(part.read_bytes() * 2)
    told: list[Any] = []
    found = epochs_of(lambda header, *_: told.append(header), str(path))
    assert [round(float(each.shift), 2) for each in found] == [0, 11]
    assert told == [{"kind": "progress"}] * 3  # 2200 packets


def test_sound_goes_with_the_part_that_it_belongs_to() -> None:
    parts = epochs(cast(Any, _File("mpegts")), _packets(*range(10, 70), *range(10, 70), *range(5000, 5060)))
    assert [part.shift for part in parts] == [0, 6, Fraction(-487)]
    assert parts[1] == Epoch(Fraction(6), Fraction(1), Fraction(69, 10))
    follower = Follower(parts)
    heard = [Fraction(tenths, 10) for tenths in (9, 40, 74, 9, 65, 5001, 5059)]
    assert [follower.shift(seconds) for seconds in heard] == [0, 0, 0, 6, 6, -487, -487]

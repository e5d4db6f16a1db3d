"""How long a video is, whether all of it is there, and how many frames it has a second, in every container."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_kernels.sandbox import Nursery
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan.scan import ScanChunk, read_scan

X264 = "-c:v libx264 -preset ultrafast -crf 18 -bf 2 -g 25 -pix_fmt yuv420p"


def facts_of(nursery: Nursery, path: Path) -> dict[str, Any]:
    ((facts, _),) = nursery.run("gpu_kernels.media.containers:probe", raw, [str(path)], path=str(path))
    return facts


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("x.mp4", f"{X264} -c:a aac -movflags +faststart"),
        ("fragments.mp4", f"{X264} -c:a aac -movflags +frag_keyframe+empty_moov"),
        ("x.mkv", f"{X264} -c:a aac"),
        ("x.avi", "-c:v mpeg4 -q:v 3 -bf 2 -c:a mp2"),
        ("x.ts", f"{X264} -c:a aac"),
        ("x.flv", f"{X264} -c:a aac"),
        ("x.wmv", "-c:v wmv2 -q:v 3 -c:a wmav2"),
        ("x.ogv", "-c:v libtheora -q:v 8 -c:a libvorbis"),
        ("x.mxf", "-c:v mpeg2video -q:v 3 -bf 2 -c:a pcm_s16le"),
        ("x.rm", "-c:v rv10 -q:v 3 -an"),
    ],
)
def test_a_download_that_broke_off_says_so_and_ends_with_its_last_frame(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, codecs: str
) -> None:
    path = media.made(tmp_path / name, f"-t 5 -i {media('numbered.mkv')} {codecs}")
    whole = facts_of(nursery, path)
    assert (whole["incomplete"], whole["frames"]) == (False, 125)
    assert whole["duration_ns"] == pytest.approx(5e9, abs=2e6)

    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    part = facts_of(nursery, path)
    assert part["incomplete"]
    times = np.concatenate([chunk.pts_ns for chunk in read_scan(nursery, str(path), None, ()) if _has_times(chunk)])
    assert part["frames"] - len(times) in (0, 1)  # the last packet may be too short to be decoded
    ends = part["first_pts_ns"] + part["duration_ns"]
    assert times[-1] < ends <= times[-1] + 0.13e9  # times may reach as far as frames that are missing


def _has_times(part: Any) -> bool:
    return isinstance(part, ScanChunk)


@pytest.mark.parametrize("name", ["x.mkv", "x.wmv", "x.nut", "x.flv", "x.mp4", "x.ts"])
def test_a_file_that_begins_late_is_whole(nursery: Nursery, media: Any, tmp_path: Path, name: str) -> None:
    """Durations are stated from zero in some containers, from the first frame in others."""
    codecs = "-c:v wmv2" if name.endswith("wmv") else X264
    path = media.made(tmp_path / name, f"-t 2 -i {media('numbered.mkv')} {codecs} -output_ts_offset 100")
    facts = facts_of(nursery, path)
    assert not facts["incomplete"]
    assert facts["first_pts_ns"] == pytest.approx(100e9, abs=1.5e9)
    assert facts["duration_ns"] == pytest.approx(2e9, abs=2e6)


@pytest.mark.parametrize(
    ("name", "arguments", "seconds"),
    [
        ("one.wmv", "-frames:v 1 -an -c:v wmv2", 0.04),
        ("one.ts", f"-frames:v 1 -an {X264}", 0.04),
        ("one.dv", "-frames:v 1 -an -s 720x576 -pix_fmt yuv420p -c:v dvvideo", 0.04),
        ("x.dv", "-t 1 -s 720x576 -pix_fmt yuv420p -c:v dvvideo -ac 2", 1),
        ("long_sound.wmv", "-c:v wmv2 -c:a wmav2 -vf trim=end=1", 1),
        ("lapse.ts", f"-an -vf trim=end=0.4,setpts=N*60/TB -r 1/60 {X264}", 600),
    ],
)
def test_rates_and_durations_are_those_of_the_frames(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, arguments: str, seconds: float
) -> None:
    """Not the clock's rate, where FFmpeg takes that for one, and not how long the sound is."""
    facts = facts_of(nursery, media.made(tmp_path / name, f"-i {media('numbered.mkv')} {arguments}"))
    assert facts["duration_ns"] == pytest.approx(seconds * 1e9, abs=2e6)
    assert facts["average_rate"] == pytest.approx(facts["frames"] / seconds, rel=0.01)
    assert facts["clock_restarts"] == 0


@pytest.mark.parametrize("name", ["x.avi", "x.mkv", "x.mp4", "x.gif"])
@pytest.mark.parametrize(("frames", "constant"), [("1", True), ("gt(mod(n,3),0)", False)])
def test_frames_that_are_left_out_make_a_rate_variable(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, frames: str, constant: bool
) -> None:
    """Also where the clock ticks but once a frame, as it does in AVI."""
    codec = {"x.avi": "-c:v mpeg4", "x.gif": ""}.get(name, X264)
    arguments = f"-i {media('numbered.mkv')} -an -vf \"trim=end=1,select='{frames}'\" -fps_mode passthrough {codec}"
    assert facts_of(nursery, media.made(tmp_path / name, arguments))["constant_rate"] is constant

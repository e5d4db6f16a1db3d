import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpu_kernels.media.storyboards import StoryboardsConfig
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, Send
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan import scan as scanning
from gpu_kernels.scan.motion_sampler import MotionSample
from gpu_kernels.scan.scan import ScanChunk, ScanEnd, read_scan
from gpu_kernels.scan.storyboard_sampler import StoryboardFrame
from gpu_kernels.scores.motion import MotionSignalsConfig

SHARED = Path(__file__).resolve().parents[4] / "shared" / "media"
MADE = [
    "closed_gop.mp4",
    "open_gop.mp4",
    "hevc.mp4",
    "vp9.webm",
    "live.webm",
    "av1.mkv",
    "vfr.mp4",
    "odd.mp4",
    "odd.webm",
    "sar.mp4",
    "tall_sar.mkv",
    "ten_bit.mp4",
    "offset.ts",
    "divx.avi",
    "intra.mp4",
    "one_frame.mp4",
    "raw.h264",
    "two_videos.mp4",
    "cover.mp4",
    "edit_list.mp4",
    "large.mp4",
    "truncated.mp4",
    "rotated_90.mp4",
    "rotated_180.mp4",
    "rotated_270.mp4",
]
SOUND = [
    path for folder in ("hostile", "cuts") for path in sorted((SHARED / folder).glob("*")) if path.stem != "corrupted"
]


class Scan:
    """The chunks of a whole scan, put together."""

    def __init__(self, nursery: Nursery, path: Path) -> None:
        *chunks, end = read_scan(nursery, str(path), MotionSignalsConfig(), [StoryboardsConfig()])
        assert isinstance(end, ScanEnd)
        self.end = end
        parts: list[ScanChunk] = [chunk for chunk in chunks if isinstance(chunk, ScanChunk)]
        assert len(parts) == len(chunks)
        self.thumbnails = np.concatenate([part.thumbnails for part in parts])
        self.pts_ns = np.concatenate([part.pts_ns for part in parts])
        self.luma = np.concatenate([part.luma for part in parts])
        self.black = np.concatenate([part.black for part in parts])
        self.motion: list[MotionSample] = [sample for part in parts for sample in part.motion]
        self.storyboard: list[StoryboardFrame] = [frame for part in parts for frame in part.storyboards[0]]

    def same(self, other: "Scan") -> bool:
        arrays = ("thumbnails", "pts_ns", "luma", "black")
        return (
            all(np.array_equal(getattr(self, name), getattr(other, name)) for name in arrays)
            and [(m.frame, m.pts_ns, m.by_flow, m.patches.tolist()) for m in self.motion]
            == [(m.frame, m.pts_ns, m.by_flow, m.patches.tolist()) for m in other.motion]
            and self.storyboard == other.storyboard
            and self.end == other.end
        )


def period_starts(pts_ns: Sequence[int], period_ns: int) -> list[int]:
    """The first frame of every period that has one, periods counted from the first frame."""
    periods = [(pts - pts_ns[0]) // period_ns for pts in pts_ns]
    return [i for i, period in enumerate(periods) if i == 0 or period > periods[i - 1]]


@pytest.mark.parametrize("path", [*MADE, *SOUND], ids=lambda path: Path(path).name)
def test_thumbnails_and_times_are_those_of_ffmpeg(nursery: Nursery, media: Any, path: str | Path) -> None:
    path = path if isinstance(path, Path) else media(path)
    scan = Scan(nursery, path)
    expected = media.frames(path, "rgb24", (48, 27), "-s", "48x27")
    assert scan.thumbnails.shape == expected.shape
    np.testing.assert_array_equal(scan.thumbnails, expected)
    assert (np.diff(scan.pts_ns) > 0).all()
    assert scan.end.damaged_frames == 0
    assert scan.end.decode_errors == (path.stem == "truncated")
    if shutil.which("ffprobe") and path.suffix != ".h264":  # which has no times
        frames = media.ffprobe(path, "-show_entries", "frame=pts_time")["frames"]
        np.testing.assert_allclose(
            scan.pts_ns / 1e9, [float(frame["pts_time"]) for frame in frames], rtol=0, atol=1.1e-6
        )

    # Storyboards and motion go over the whole file, and name the frames that they are of.
    assert [frame.frame for frame in scan.storyboard] == period_starts(scan.pts_ns.tolist(), 500_000_000)
    assert [frame.pts_ns for frame in scan.storyboard] == [scan.pts_ns[frame.frame] for frame in scan.storyboard]
    assert [sample.pts_ns for sample in scan.motion] == [scan.pts_ns[sample.frame] for sample in scan.motion]
    if len(scan.pts_ns) > 3:
        gaps = np.diff([scan.pts_ns[0], *(sample.pts_ns for sample in scan.motion), scan.pts_ns[-1]])
        # A keyframe only moves a sample a little; an all-intra file waits a period for vectors.
        assert gaps.max() <= (1_100_000_000 if path.stem == "intra" else 800_000_000)


def test_raw_streams_get_times_from_the_rate_that_they_state(nursery: Nursery, media: Any) -> None:
    scan = Scan(nursery, media("raw.h264"))
    np.testing.assert_allclose(scan.pts_ns, np.arange(60) * 1e9 / 30, rtol=0, atol=60)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("closed_gop.mp4", (320, 180)),
        ("rotated_90.mp4", (180, 320)),
        ("rotated_180.mp4", (320, 180)),
        ("rotated_270.mp4", (180, 320)),
        ("sar.mp4", (384, 288)),
        ("tall_sar.mkv", (320, 240)),
        ("odd.mp4", (321, 181)),
        ("large.mp4", (854, 480)),
        ("ten_bit.mp4", (320, 180)),
    ],
)
def test_storyboards_show_the_picture_as_displayed(
    nursery: Nursery, media: Any, name: str, size: tuple[int, int]
) -> None:
    scan = Scan(nursery, media(name))
    # ffmpeg turns pictures by itself; the sample aspect ratio has to be asked for.
    expected = media.frames(media(name), "rgb24", size, "-vf", f"scale={size[0]}:{size[1]}:flags=bicubic,setsar=1")
    for frame in scan.storyboard:
        assert (frame.width, frame.height) == size
        shown = cv2.cvtColor(cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert shown.shape == (size[1], size[0], 3)
        assert cv2.PSNR(shown, expected[frame.frame]) > 24  # JPEG halves the chroma, which is sharp here
        gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (shown, expected[frame.frame])]
        assert cv2.PSNR(gray[0], gray[1]) > 32
        assert frame.sharpness == pytest.approx(cv2.Laplacian(gray[1], cv2.CV_64F).var(), rel=0.05)


def test_motion_comes_from_vectors_else_from_flow(nursery: Nursery, media: Any) -> None:
    by_flow = {name: {m.by_flow for m in Scan(nursery, media(name)).motion} for name in ("open_gop.mp4", "vp9.webm")}
    assert by_flow == {"open_gop.mp4": {False}, "vp9.webm": {True}}
    intra = Scan(nursery, media("intra.mp4")).motion
    assert [sample.frame for sample in intra] == [15, 30, 45, 60, 75, 90, 105]
    assert all(sample.by_flow and sample.patches.mean() > 0 for sample in intra)


@pytest.mark.parametrize("name", ["open_gop.mp4", "hevc.mp4", "vp9.webm"])
def test_a_scan_is_the_same_every_time(nursery: Nursery, media: Any, name: str) -> None:
    first = Scan(nursery, media(name))
    assert first.same(Scan(nursery, media(name)))


@pytest.mark.skipif(not SHARED.exists(), reason="no shared/media beside the checkout")
def test_damaged_data_are_counted(nursery: Nursery) -> None:
    scan = Scan(nursery, SHARED / "hostile" / "corrupted.mp4")
    assert len(scan.pts_ns) == 49  # of 50 packets
    assert (scan.end.decode_errors, scan.end.damaged_frames) == (1, 1)


def test_damage_anywhere_ends_in_frames_or_an_error(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    outcomes = set[str]()
    for name in ("open_gop.mp4", "vp9.webm", "offset.ts", "divx.avi"):
        data = np.fromfile(media(name), np.uint8)
        for _ in range(6):
            damaged = data.copy()
            start = random.integers(0, len(data) - 1000)
            damaged[start : start + random.integers(1, 1000)] = random.integers(0, 256)
            path = tmp_path / name
            damaged[: random.integers(1000, len(data))].tofile(path)
            try:
                assert 0 < len(Scan(nursery, path).pts_ns) <= 125
                outcomes.add("frames")
            except MediaError as error:
                assert str(error)
                outcomes.add("error")
    assert "frames" in outcomes


@pytest.mark.parametrize("size", ["2x2", "2x40", "200x16", "1600x24"])
def test_very_small_and_very_long_pictures_have_motion(nursery: Nursery, media: Any, tmp_path: Path, size: str) -> None:
    path = media.made(tmp_path / "small.y4m", f"-f lavfi -i testsrc2=s={size}:r=10:d=2 -pix_fmt yuv444p -strict -1")
    found = Scan(nursery, path)
    assert len(found.pts_ns) == 20 and len(found.motion) == 4
    assert all(np.isfinite(sample.patches).all() for sample in found.motion)


def test_without_motion_and_storyboards_only_thumbnails_come(nursery: Nursery, media: Any) -> None:
    *chunks, _ = read_scan(nursery, str(media("closed_gop.mp4")), None, ())
    assert all(isinstance(chunk, ScanChunk) and not chunk.motion and not chunk.storyboards for chunk in chunks)
    whole = Scan(nursery, media("closed_gop.mp4"))
    thumbnails = [chunk.thumbnails for chunk in chunks if isinstance(chunk, ScanChunk)]
    np.testing.assert_array_equal(np.concatenate(thumbnails), whole.thumbnails)


def scan_and_weigh(send: Send, limits: DecodingLimits, **arguments: Any) -> None:
    """An operation for children, which import this file: a scan, and then the most memory that the process has used."""
    scanning.scan(send, limits, **arguments)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    send({"kind": "peak", "kib": int(status["VmHWM"].split()[0])})


@pytest.mark.deep
def test_memory_does_not_grow_with_length(media: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    settings = {
        "motion": MotionSignalsConfig().model_dump(),
        "storyboards": [StoryboardsConfig().model_dump()],
        "segment": {},
        "sound": False,
        "restarts": False,
    }

    def peak(name: str) -> tuple[int, int]:
        frames, last = 0, {}
        for last, _ in nursery.run(
            "test_scan:scan_and_weigh", raw, [str(media(name))], path=str(media(name)), **settings
        ):
            frames += last.get("count", 0)
        return frames, last["kib"]

    with Nursery(DecodingLimits()) as nursery:
        short_frames, short = peak("ten_seconds.mp4")
        long_frames, long = peak("two_minutes.mp4")
    assert (short_frames, long_frames) == (300, 3600)
    assert long - short < 8 << 10  # the frames that lie between them are 1.1 GiB

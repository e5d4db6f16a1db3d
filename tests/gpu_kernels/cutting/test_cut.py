from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from gpu_kernels.cutting.cut import ClipFacts, cut_clip, read_back
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.spans import Span
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan.scan import ScanChunk, read_scan

SHARED = Path(__file__).resolve().parents[4] / "shared" / "media"
CONFIG = ClipFilesConfig(crf=18, preset="ultrafast")
BEEP_MARGIN = 0.06

needs_footage = pytest.mark.skipif(not SHARED.exists(), reason="no shared/media beside the checkout")


class Source:
    """A video with all its frames as ffmpeg decodes them, uint8 [n, height, width] luma, and their times."""

    def __init__(self, nursery: Nursery, media: Any, path: Path) -> None:
        ((self.facts, _),) = nursery.run("gpu_kernels.media.containers:probe", raw, [str(path)], path=str(path))
        chunks = [part for part in read_scan(nursery, str(path), None, ()) if isinstance(part, ScanChunk)]
        self.path, self.nursery = path, nursery
        self.pts_ns = np.concatenate([chunk.pts_ns for chunk in chunks])
        self.ends_ns = np.append(self.pts_ns[1:], 2 * self.pts_ns[-1] - self.pts_ns[-2])
        size = (self.facts["coded_width"], self.facts["coded_height"])
        self.size = size[::-1] if self.facts["rotation"] % 180 else size
        self.frames = media.frames(path, "gray", self.size)

    def cut(self, target: Path, start: int, end: int, config: ClipFilesConfig = CONFIG) -> Path:
        bounds = (start, end, int(self.pts_ns[start]), int(self.ends_ns[end - 1]))
        span = Span(*bounds, clock_restarts=self.facts["clock_restarts"])
        self.copied = cut_clip(self.nursery, str(self.path), str(target), span, config)
        return target


def check(source: Source, media: Any, path: Path, start: int, end: int, moving: bool = True) -> None:
    """The clip has the source's frames of its span, at their times, and sound as long as they are, if any."""
    width, height = (side // 2 * 2 for side in source.size)
    expected = source.frames[:, :height, :width]
    clip = media.frames(path, "gray", (width, height))
    assert len(clip) == end - start
    for index, frame in enumerate(clip, start):
        own = cv2.PSNR(frame, expected[index])
        assert own > 34
        beside = [cv2.PSNR(frame, expected[i]) for i in (index - 1, index + 1) if moving and 0 <= i < len(expected)]
        assert own > max(beside, default=0), f"frame {index}"

    seconds = (source.ends_ns[end - 1] - source.pts_ns[start]) / 1e9
    with av.open(str(path)) as opened:
        video = opened.streams.video[0]
        codec = source.facts["codec"] if source.copied else "h264"
        assert (video.codec_context.name, video.codec_context.pix_fmt) == (codec, "yuv420p")
        assert (video.width, video.height) == (width, height)
        times = np.array([float(frame.pts * frame.time_base) for frame in opened.decode(video)])
        np.testing.assert_allclose(times, (source.pts_ns[start:end] - source.pts_ns[start]) / 1e9, rtol=0, atol=0.001)
        assert len(opened.streams.audio) == (source.facts["audio_codec"] is not None)
        for sound in opened.streams.audio:
            assert sound.codec_context.name == "aac"
            assert float(sound.duration * sound.time_base) == pytest.approx(seconds, abs=0.1)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def beeps(path: Path) -> list[float]:
    """When the tones of a file begin, in seconds of its own time."""
    with av.open(str(path)) as opened:
        rate = opened.streams.audio[0].sample_rate
        frames = list(opened.decode(audio=0))
    assert frames[0].time is not None
    loud = np.abs(np.concatenate([frame.to_ndarray().mean(0) for frame in frames])) > 0.1
    heard = np.flatnonzero(loud)
    begins = heard[np.flatnonzero(np.diff(heard, prepend=-rate) > rate // 4)]
    return [frames[0].time + index / rate for index in begins.tolist()]


@pytest.mark.parametrize(
    "name",
    [
        "closed_gop.mp4",
        "open_gop.mp4",
        "slow_open_gop.mp4",
        "hevc.mp4",
        "vp9.webm",
        "live.webm",
        "av1.mkv",
        "vfr.mp4",
        "odd.mp4",
        "odd.webm",
        "ten_bit.mp4",
        "intra.mp4",
        "offset.ts",
        "divx.avi",
        "raw.h264",
        "edit_list.mp4",
        "cover.mp4",
        "rotated_90.mp4",
        "rotated_180.mp4",
        "rotated_270.mp4",
    ],
)
def test_a_clip_has_exactly_the_frames_of_its_span(nursery: Nursery, media: Any, tmp_path: Path, name: str) -> None:
    """Every 40th frame is a keyframe; in open GOPs those just before it are decoded after it."""
    source = Source(nursery, media, media(name))
    total = len(source.frames)
    for start, end in [(0, 12), (38, 50), (total // 2 - 3, total // 2 + 13), (total - 11, total)]:
        path = source.cut(tmp_path / "clip.mp4", start, end)
        check(source, media, path, start, end)
        if source.facts["audio_codec"] is not None:
            # A tone may lie across the beginning; those within are heard when the source's are.
            first, last = source.pts_ns[start] / 1e9, source.ends_ns[end - 1] / 1e9
            expected = [tone - first for tone in beeps(source.path) if first + 0.03 < tone < last - 0.05]
            heard = [tone for tone in beeps(path) if tone > 0.03]
            assert heard == pytest.approx(expected, abs=BEEP_MARGIN)


@pytest.mark.parametrize(("name", "size"), [("sar.mp4", (384, 288)), ("tall_sar.mkv", (320, 240))])
def test_pixels_of_a_clip_are_square(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    """Most readers of training data do not know of other pixels."""
    source = Source(nursery, media, media(name))
    path = source.cut(tmp_path / "clip.mp4", 5, 20)
    with av.open(str(path)) as opened:
        assert opened.streams.video[0].sample_aspect_ratio in (None, 1)
        assert (opened.streams.video[0].width, opened.streams.video[0].height) == size
    frames = media.frames(path, "gray", size)
    assert len(frames) == 15
    for index, frame in enumerate(frames, 5):
        expected = [cv2.resize(source.frames[i], size, interpolation=cv2.INTER_CUBIC) for i in (index, index - 1)]
        assert cv2.PSNR(frame, expected[0]) > max(28, cv2.PSNR(frame, expected[1]))


@pytest.mark.parametrize("name", ["open_gop.mp4", "vp9.webm", "vfr.mp4", "offset.ts", "divx.avi", "rotated_90.mp4"])
def test_the_bytes_are_the_same_every_time(nursery: Nursery, media: Any, tmp_path: Path, name: str) -> None:
    source = Source(nursery, media, media(name))
    path = source.cut(tmp_path / "clip.mp4", 38, 60)
    assert source.cut(tmp_path / "again.mp4", 38, 60).read_bytes() == path.read_bytes()


@needs_footage
@pytest.mark.parametrize(
    "name", ["no_duration.webm", "tiny_10x6.mp4", "rotated_90.mov", "corrupted.mp4", "indeo4_3s.avi"]
)
def test_hostile_footage_is_cut_exactly_too(nursery: Nursery, media: Any, tmp_path: Path, name: str) -> None:
    source = Source(nursery, media, SHARED / "hostile" / name)
    total = len(source.frames)
    start, end = (0, 3) if total == 3 else (total // 2, total // 2 + 13)
    # The tiny one hardly moves, the damage of the corrupted one differs with where decoding begins.
    check(source, media, source.cut(tmp_path / "clip.mp4", start, end), start, end, moving=name != "tiny_10x6.mp4")


@pytest.mark.parametrize("name", ["open_gop.mp4", "vfr.mp4", "odd.mp4", "rotated_90.mp4"])
def test_trainers_readers_see_every_frame(nursery: Nursery, media: Any, tmp_path: Path, name: str) -> None:
    source = Source(nursery, media, media(name))
    path = source.cut(tmp_path / "clip.mp4", 7, 40)
    facts = read_back(nursery, str(path), CONFIG)  # through decord
    width, height = (side // 2 * 2 for side in source.size)
    assert (facts.frames, facts.width, facts.height) == (33, width, height)
    capture, seen = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        seen += 1
    assert seen == 33
    thumbnail = cv2.imdecode(np.frombuffer(facts.thumbnail, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert max(thumbnail.shape) == CONFIG.thumbnail_side
    middle = source.frames[7 + 33 // 2, :height, :width]
    assert cv2.PSNR(thumbnail, cv2.resize(middle, thumbnail.shape[::-1], interpolation=cv2.INTER_AREA)) > 28


def test_quality_and_sound_are_as_configured(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    source = Source(nursery, media, media("closed_gop.mp4"))
    sizes = [
        source.cut(tmp_path / f"{crf}.mp4", 0, 60, ClipFilesConfig(method="encode", crf=crf)).stat().st_size
        for crf in (10, 20, 40)
    ]
    assert sizes[0] > 1.5 * sizes[1] > 2 * sizes[2]


def test_sound_that_cannot_be_used_is_left_out(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    span = Span(0, 30, 0, 10**9, with_sound=False)
    for method in ("copy", "encode"):
        config = ClipFilesConfig.model_validate({"method": method, "preset": "ultrafast"})
        cut_clip(nursery, str(media("closed_gop.mp4")), str(tmp_path / "clip.mp4"), span, config)
        with av.open(str(tmp_path / "clip.mp4")) as opened:
            assert not opened.streams.audio


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_all_channels_of_surround_sound_are_in_the_clip(
    nursery: Nursery, media: Any, tmp_path: Path, codec: str
) -> None:
    places = {"FL": 200, "FR": 400, "FC": 600, "LFE": 50, "BL": 800, "BR": 1000, "SL": 1200, "SR": 1400}
    tones = "|".join(f"0.3*sin(2*PI*{hertz}*t)" for hertz in places.values())
    picture = "-f lavfi -i testsrc2=s=64x48:r=25:d=3 -f lavfi -i"
    encoders = f"-c:v libx264 -preset ultrafast -c:a {codec}"
    source = media.made(tmp_path / "source.mkv", f"{picture} aevalsrc='{tones}':s=48000:d=3:c=7.1 {encoders}")
    cut_clip(nursery, str(source), str(tmp_path / "clip.mp4"), Span(0, 50, 0, 2 * 10**9), CONFIG)
    heard = media.sound(tmp_path / "clip.mp4", channels=8)
    spectrum = np.abs(np.fft.rfft(heard[:, 24_000:72_000]))  # a second: a bin for each hertz
    assert spectrum.argmax(1).tolist() == list(places.values())


def test_what_cannot_be_cut_is_an_error(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    source, clip = tmp_path / "source.mp4", str(tmp_path / "clip.mp4")
    source.write_bytes(b"no video at all" * 100)
    with pytest.raises(MediaError, match="not a readable video"):
        cut_clip(nursery, str(source), clip, Span(0, 5, 0, 10**9), CONFIG)
    source.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{media('offset.ts')}\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError, match="playlists are refused"):
        cut_clip(nursery, str(source), clip, Span(0, 5, 0, 10**9), CONFIG)
    beyond = Span(100, 150, 4 * 10**9, 6 * 10**9)
    with pytest.raises(MediaError, match="20 of the span's 50 frames are found"):
        cut_clip(nursery, str(media("closed_gop.mp4")), clip, beyond, CONFIG)


def test_encoding_is_held_to_the_limits(media: Any, tmp_path: Path) -> None:
    span, target = Span(0, 50, 0, 2 * 10**9), str(tmp_path / "clip.mp4")
    with Nursery(DecodingLimits(memory_mib=400)) as small, pytest.raises(MediaError, match=r"memory_mib|libx264"):
        cut_clip(small, str(media("large.mp4")), target, span, CONFIG)


def test_a_file_that_is_no_clip_is_not_read_back(nursery: Nursery, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(MediaError):
        assert not isinstance(read_back(nursery, str(path), CONFIG), ClipFacts)


def test_a_clip_that_trainers_readers_misread_is_an_error(nursery: Nursery, tmp_path: Path) -> None:
    """Of pictures 16 pixels wide, decord gives six colors: they would be noise in a training set."""
    frames = b"".join(b"FRAME\n" + bytes([value]) * 256 + b"\x80" * 128 for value in range(40, 60))
    source, clip = tmp_path / "narrow.y4m", str(tmp_path / "clip.mp4")
    source.write_bytes(b"YUV4MPEG2 W16 H16 F25:1 C420jpeg\n" + frames)
    cut_clip(nursery, str(source), clip, Span(0, 20, 0, 800_000_000), CONFIG)
    with pytest.raises(MediaError, match="16 pixels are too narrow for it"):
        read_back(nursery, clip, CONFIG)


@pytest.mark.parametrize("method", ["copy", "encode"])
def test_whether_there_is_sound_is_read_from_the_file(
    nursery: Nursery, media: Any, tmp_path: Path, method: str
) -> None:
    """The source's sound ends after a second: only a clip from before has any."""
    numbered = media("numbered.mkv")
    made = f"-t 3 -i {numbered} -t 1 -i {numbered} -map 0:v -map 1:a -c:v libx264 -preset ultrafast -g 25 -c:a aac"
    source = Source(nursery, media, media.made(tmp_path / "source.mp4", made))
    config = ClipFilesConfig.model_validate({"method": method})
    heard = [
        read_back(nursery, str(source.cut(tmp_path / "clip.mp4", start, start + 25, config)), config).has_audio
        for start in (0, 50)
    ]
    assert heard == [True, False]

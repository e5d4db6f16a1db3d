import os
import shutil
import socket
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gpu_kernels.media.storyboards import StoryboardsConfig, decoded
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan.scan import ScanChunk, read_scan

SHARED = Path(__file__).resolve().parents[4] / "shared" / "media"

needs_ffprobe = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")


def facts_of(nursery: Nursery, path: Path | str) -> dict[str, Any]:
    ((header, buffers),) = nursery.run("gpu_kernels.media.containers:probe", raw, [str(path)], path=str(path))
    assert header.pop("kind") == "facts" and not buffers
    return header


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("live.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{url}\n#EXTINF:4,\n{canary}\n#EXT-X-ENDLIST\n"),
        ("hls.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{url}\n#EXTINF:4,\n{canary}\n#EXT-X-ENDLIST\n"),
        ("marked.mp4", "\ufeff  \n#extm3u\n#EXTINF:4,\n{url}\n{canary}\n"),
        ("late.mp4", "\n" * 5000 + "#EXTM3U\n#EXTINF:4,\n{url}\n{canary}\n"),
        ("script.mp4", "ffconcat version 1.0\nfile '{canary}'\nfile '{url}'\n"),
        ("script.txt", "file '{canary}'\n"),
        (
            "dash.mpd",
            '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
        ),
        ("session.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"),
        ("subtitles.srt", "1\n00:00:01,000 --> 00:00:02,000\nHello\n"),
        ("notes.mp4", "Dear diary,\n\nno video today.\n"),
        ("empty.mp4", ""),
    ],
)
def test_files_that_refer_to_others_and_texts_are_refused(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, text: str
) -> None:
    canary = tmp_path / "canary.ts"
    shutil.copy(media("offset.ts"), canary)
    os.utime(canary, (0, 0))  # the next read will show
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        path = tmp_path / name
        path.write_text(text.format(url=f"http://127.0.0.1:{port}/a.ts", canary=canary, port=port))
        with pytest.raises(MediaError, match=r"playlist|empty|not a video|not a readable video"):
            facts_of(nursery, path)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert canary.stat().st_atime == 0


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png", "sound.mp3", "sound.m4a"])
def test_pictures_and_sound_are_refused(nursery: Nursery, media: Any, name: str) -> None:
    with pytest.raises(MediaError, match=r"not a video|no video stream"):
        facts_of(nursery, media(name))


def test_folders_and_missing_files_are_refused(nursery: Nursery, tmp_path: Path) -> None:
    for path, message in [(tmp_path, "Is a directory"), (tmp_path / "none.mp4", "No such file")]:
        with pytest.raises(MediaError, match=message):
            facts_of(nursery, path)


def test_a_movie_whose_data_lie_in_another_file_is_refused(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """The data reference of a QuickTime file may be an alias: the path of the file that holds its pictures."""
    import av

    source = media("intra.mp4")
    data = bytearray(source.read_bytes())
    pictures = data.index(b"mdat")
    at = data.index(b"dref")
    assert pictures < at and data[at + 12 : at + 20] == struct.pack(">I4s", 12, b"url ")
    path = str(source).encode()
    alias = bytes(154) + struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4s", len(alias) + 8, b"alis") + alias
    data[at + 12 : at + 24] = entry
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):  # the boxes around it grow
        box = data.rindex(name, 0, at + 4) - 4
        data[box : box + 4] = struct.pack(">I", struct.unpack(">I", data[box : box + 4])[0] + len(entry) - 12)
    data[pictures + 4 : data.index(b"moov") - 4] = bytes(data.index(b"moov") - pictures - 8)
    target = tmp_path / "reference.mov"
    target.write_bytes(data)
    with av.open(str(target), container_options={"enable_drefs": "1", "use_absolute_path": "1"}) as fooled:
        assert sum(1 for _ in fooled.decode(video=0)) == 120
    with pytest.raises(MediaError, match="no frame"):
        facts_of(nursery, target)


def test_too_large_pictures_are_refused_before_they_are_decoded(media: Any) -> None:
    with (
        Nursery(DecodingLimits(max_pixels=1280 * 720 - 1)) as nursery,
        pytest.raises(MediaError, match=r"1280x720 pixels .*limits\.max_pixels"),
    ):
        facts_of(nursery, media("large.mp4"))


def _patched(data: bytes, kind: bytes, offset: int, value: int) -> bytes:
    """`data` with a 32-bit number in the body of its first box of a kind replaced."""
    at = data.index(kind) + 4 + offset
    return data[:at] + struct.pack(">I", value) + data[at + 4 :]


def test_absurd_numbers_are_not_believed_or_refused(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """What is stored must fit into 64 bits of nanoseconds and into the limits."""
    sound, target = media("intra.mp4").read_bytes(), tmp_path / "absurd.mp4"
    target.write_bytes(_patched(_patched(sound, b"mdhd", 16, 0xFFFF_FFFF), b"mdhd", 12, 1))
    assert 0 < facts_of(nursery, target)["duration_ns"] < 2**63
    frames = media("vp9.ivf").read_bytes()
    target.write_bytes(frames[:36] + struct.pack("<Q", 1 << 60) + frames[44:])  # the first frame's time
    with pytest.raises(MediaError, match="century"):
        facts_of(nursery, target)
    target.write_bytes(sound.replace(b"avc1", b"none"))
    with pytest.raises(MediaError, match="codec that is not known"):
        facts_of(nursery, target)
    squashed = media("sar.mp4").read_bytes()
    target.write_bytes(_patched(_patched(squashed, b"pasp", 0, 0x7FFF_FFFF), b"pasp", 4, 1))
    facts = facts_of(nursery, target)
    assert (facts["width"], facts["height"], facts["sample_aspect_ratio"]) == (360, 288, "1:1")
    target.write_bytes(_patched(_patched(squashed, b"pasp", 0, 12), b"pasp", 4, 1))
    with (
        Nursery(DecodingLimits(max_pixels=360 * 288)) as small,
        pytest.raises(MediaError, match=r"displayed as 4320x288 .* limits\.max_pixels"),
    ):
        facts_of(small, target)


FOOTAGE = [path for folder in ("hostile", "single", "cuts") for path in sorted((SHARED / folder).glob("*"))]
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
    "truncated.mp4",
    "rotated_90.mp4",
    "rotated_180.mp4",
    "rotated_270.mp4",
]


@needs_ffprobe
@pytest.mark.parametrize("path", [*MADE, *FOOTAGE], ids=lambda path: Path(path).name)
def test_facts_agree_with_ffprobe(nursery: Nursery, media: Any, path: str | Path) -> None:
    facts = facts_of(nursery, path if isinstance(path, Path) else (path := media(path)))
    told = media.ffprobe(path, "-show_streams", "-show_format", "-show_packets")
    stream, container = told["streams"][0], told["format"]

    assert facts["container"] == container["format_name"]
    assert facts["codec"] == stream["codec_name"]
    assert facts["pixel_format"] == stream["pix_fmt"]
    assert (facts["coded_width"], facts["coded_height"]) == (stream["width"], stream["height"])
    turn = next((int(data["rotation"]) for data in stream.get("side_data_list", []) if "rotation" in data), 0)
    assert facts["rotation"] == -turn % 360
    aspect = Fraction(stream.get("sample_aspect_ratio", "1:1").replace(":", "/"))
    width, height = stream["width"] * max(aspect, 1), stream["height"] / min(aspect, 1)
    shown = (height, width) if turn % 180 else (width, height)
    assert (facts["width"], facts["height"]) == tuple(map(round, shown))

    shown_packets = [packet for packet in told["packets"] if "D" not in packet["flags"]]
    assert facts["frames"] == len(shown_packets)
    assert facts["keyframes"] == sum("K" in packet["flags"] for packet in shown_packets)
    assert facts["average_rate"] == pytest.approx(float(Fraction(stream["avg_frame_rate"])), rel=1e-6)
    assert facts["real_rate"] == pytest.approx(float(Fraction(stream["r_frame_rate"])), rel=1e-6)
    times = [float(packet["pts_time"]) for packet in shown_packets if "pts_time" in packet]
    assert facts["first_pts_ns"] / 1e9 == pytest.approx(min(times, default=0), abs=1e-6)
    period = 1 / facts["average_rate"]
    span = max(times) - min(times) + period if times else len(shown_packets) * period
    assert facts["incomplete"] == (path.name == "truncated.mp4")
    duration = span if facts["incomplete"] else float(stream.get("duration", container.get("duration", span)))
    assert facts["duration_ns"] / 1e9 == pytest.approx(duration, abs=max(period, 0.05))


@pytest.mark.parametrize(
    ("name", "constant", "sound", "video_streams"),
    [
        ("closed_gop.mp4", True, (1, "aac", 48000, 1), 1),
        ("av1.mkv", True, (1, "opus", 48000, 1), 1),
        ("vfr.mp4", False, (None, None, None, None), 1),
        ("raw.h264", True, (None, None, None, None), 1),
        ("two_videos.mp4", True, (None, None, None, None), 2),
        ("cover.mp4", True, (1, "aac", 48000, 1), 1),
    ],
)
def test_rates_sound_and_streams(
    nursery: Nursery, media: Any, name: str, constant: bool, sound: tuple[Any, ...], video_streams: int
) -> None:
    facts = facts_of(nursery, media(name))
    assert facts["constant_rate"] is constant
    assert tuple(facts[f"audio_{name}"] for name in ("index", "codec", "sample_rate", "channels")) == sound
    assert facts["audio_error"] is None
    assert facts["video_streams"] == video_streams


@pytest.mark.parametrize(
    ("name", "arguments", "index"),
    [
        ("default.mp4", "-map 0:v -map 1:v -c copy -disposition:v:0 0 -disposition:v:1 default", 1),
        ("default.mkv", "-map 0:v -map 1:v -c copy -disposition:v:0 0 -disposition:v:1 default", 1),
        ("first.mkv", "-map 1:v -map 0:v -c copy -disposition:v:0 0 -disposition:v:1 0", 0),
        ("cover.mkv", "-map 2:v -map 1:v -c copy -disposition:v 0", 1),
        ("cover.mp4", "-map 2:v -map 1:v -c copy -disposition:v 0", 1),
        ("default_cover.mkv", "-map 2:v -map 1:v -c copy -disposition:v:0 default -disposition:v:1 0", 1),
        ("png.mov", "-map 2:v -map 1:v -c:v:0 png -c:v:1 copy -disposition:v 0", 1),
        ("still.mp4", "-map 3:v -map 1:v -c copy -disposition:v 0", 1),
        ("motion_jpeg.mkv", "-map 1:v -c mjpeg -t 1", 0),
        ("motion_jpeg.avi", "-map 0:v -c mjpeg -t 1", 0),
    ],
)
def test_the_video_is_the_default_stream_and_no_cover(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, arguments: str, index: int
) -> None:
    """Two videos of 4 s, the second one with numbered frames; a picture; and a video of one frame."""
    other, numbered = media("closed_gop.mp4"), media("numbered.mkv")
    inputs = f"-t 4 -i {other} -t 4 -i {numbered} -i {media('picture.jpg')} -i {media('one_frame.mp4')}"
    path = media.made(tmp_path / name, f"{inputs} {arguments}")
    facts = facts_of(nursery, path)
    assert facts["stream_index"] == index
    assert facts["frames"] > 1
    pictures = [
        part for part in read_scan(nursery, str(path), None, [StoryboardsConfig()]) if isinstance(part, ScanChunk)
    ]
    assert sum(len(part.pts_ns) for part in pictures) == facts["frames"]
    if index == 1:
        shown = pictures[0].storyboards[0][1]
        assert (shown.width, shown.height) == (320, 240)
        assert media.number(decoded(bytes(shown.jpeg))) == shown.frame


def test_sound_that_cannot_be_used_is_named_and_the_video_goes_on(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """Its codec is not known, or every packet of it is damaged."""
    short = f"-t 3 -i {media('numbered.mkv')} -c:v libx264 -preset ultrafast -c:a"
    facts = [
        facts_of(nursery, _patched_name(media.made(tmp_path / "a.mkv", f"{short} aac"), b"A_AAC", b"A_ZZZ")),
        facts_of(nursery, _patched_name(media.made(tmp_path / "a.mov", f"{short} pcm_s16le"), b"sowt", b"zzzz")),
        facts_of(nursery, media.made(tmp_path / "b.mp4", f"{short} aac -bsf:a noise=amount=1")),
        facts_of(nursery, media.made(tmp_path / "b.ts", f"{short} ac3 -bsf:a noise=amount=1")),
    ]
    assert [each["frames"] for each in facts] == [75] * 4
    assert [(each["audio_index"], each["audio_codec"]) for each in facts] == [
        (1, None),
        (1, None),
        (1, "aac"),
        (1, "ac3"),
    ]
    unknown, damaged = "it is in a codec that is not known", "it is damaged throughout"
    assert [each["audio_error"] for each in facts] == [unknown, unknown, damaged, damaged]

    # Another sound of the file is used, if there is one.
    both = f"{short.replace('-c:a', '')} -map 0:v -map 0:a -map 0:a -c:a:0 aac -c:a:1 pcm_s16le"
    facts = facts_of(nursery, _patched_name(media.made(tmp_path / "two.mkv", both), b"A_AAC", b"A_ZZZ"))
    assert (facts["audio_index"], facts["audio_codec"], facts["audio_error"]) == (2, "pcm_s16le", None)


def _patched_name(path: Path, codec: bytes, other: bytes) -> Path:
    path.write_bytes(path.read_bytes().replace(codec, other))
    return path

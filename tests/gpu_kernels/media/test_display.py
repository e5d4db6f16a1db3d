"""What is looked at, measured and stored is what a player shows."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.storyboards import StoryboardsConfig, decoded
from gpu_kernels.sandbox import Nursery
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan.scan import ScanChunk, read_scan

X264 = "-an -c:v libx264 -preset ultrafast -crf 12 -pix_fmt yuv420p"
EVERY = StoryboardsConfig(frames_per_second=25, jpeg_quality=95)


def storyboard(nursery: Nursery, path: Path) -> list[np.ndarray]:
    """A picture of every frame, uint8 [height, width, 3], RGB."""
    parts = [part for part in read_scan(nursery, str(path), None, [EVERY]) if isinstance(part, ScanChunk)]
    return [decoded(bytes(shown.jpeg)) for part in parts for shown in part.storyboards[0]]


def facts_of(nursery: Nursery, path: Path) -> dict[str, Any]:
    ((header, _),) = nursery.run("gpu_kernels.media.containers:probe", raw, [str(path)], path=str(path))
    return header


TURNS = {
    "mirror": ({"degrees": 0, "hflip": True}, "top right", "top left"),
    "flip": ({"degrees": 0, "vflip": True}, "bottom left", "bottom right"),
    "half": ({"degrees": 180}, "bottom right", "bottom left"),
    "quarter": ({"degrees": -90}, "top right", "bottom right"),
    "three": ({"degrees": 90}, "bottom left", "top left"),
    "transposed": ({"degrees": 90, "vflip": True}, "top left", "bottom left"),
    "crosswise": ({"degrees": 90, "hflip": True}, "bottom right", "top right"),
}


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("name", TURNS)
def test_pictures_are_turned_and_mirrored_as_players_do(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, container: str
) -> None:
    turn, red, blue = TURNS[name]
    plain = media.made(tmp_path / "plain.mp4", f"-t 0.2 -i {media('numbered.mkv')} {X264}")
    path = media.turned(plain, tmp_path / f"turned.{container}", **turn)
    shown, facts = storyboard(nursery, path), facts_of(nursery, path)
    assert [media.corners(picture) for picture in shown] == [{"red": red, "blue": blue}] * 5
    by_ffmpeg = media.frames(path, "rgb24", (facts["width"], facts["height"]))
    assert min(cv2.PSNR(picture, frame) for picture, frame in zip(shown, by_ffmpeg, strict=True)) > 30
    # The row says how to get there from what is decoded.
    (decoded, *_) = media.frames(plain, "rgb24", (320, 240))
    turned = np.rot90(decoded, -facts["rotation"] // 90)
    assert media.corners(turned[:, ::-1] if facts["mirrored"] else turned) == {"red": red, "blue": blue}


@pytest.mark.parametrize(("name", "turn"), [("sei.h264", "rotate=90"), ("sei.ts", "rotate=270"), ("sei.mp4", "flip=1")])
def test_what_a_keyframe_says_of_its_orientation_holds_until_the_next(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, turn: str
) -> None:
    bitstream = f"h264_metadata=display_orientation=insert:{turn}"
    path = media.made(tmp_path / name, f"-t 1 -i {media('numbered.mkv')} {X264} -g 25 -bsf:v {bitstream}")
    facts, shown = facts_of(nursery, path), storyboard(nursery, path)
    (first, *_) = media.frames(path, "rgb24", (facts["width"], facts["height"]))
    assert [media.corners(picture) for picture in shown] == [media.corners(first)] * 25
    assert media.corners(first) not in ({}, {"red": "top left", "blue": "top right"})


def test_other_angles_keep_the_size_and_lose_the_corners(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """As the ffmpeg program and ffplay have it."""
    plain = media.made(tmp_path / "plain.mp4", f"-t 0.2 -i {media('numbered.mkv')} {X264}")
    path = media.turned(plain, tmp_path / "turned.mp4", degrees=-45)
    shown, facts = storyboard(nursery, path), facts_of(nursery, path)
    assert (facts["rotation"], facts["width"], facts["height"]) == (45, 320, 240)
    by_ffmpeg = media.frames(path, "rgb24", (320, 240))
    assert min(cv2.PSNR(picture, frame) for picture, frame in zip(shown, by_ffmpeg, strict=True)) > 30
    assert shown[0][0, 0].max() < 30


@pytest.mark.parametrize(
    ("name", "crop", "size"),
    [
        ("clap.mp4", (40, 30, 40, 30), (240, 180)),
        ("crop.mkv", (40, 30, 40, 30), (240, 180)),
        ("odd.mkv", (41, 31, 40, 30), (238, 178)),  # whole samples of chroma
        ("turned.mkv", (0, 0, 0, 40), (200, 320)),
    ],
)
def test_what_the_container_crops_is_nowhere(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, crop: tuple[int, ...], size: tuple[int, int]
) -> None:
    plain = media.made(tmp_path / "plain.mp4", f"-t 0.2 -i {media('numbered.mkv')} {X264}")
    path = tmp_path / "clap.mp4"
    path.write_bytes(media.with_clean_aperture(plain.read_bytes(), crop))
    if name.endswith("mkv"):
        path = media.turned(path, tmp_path / name, degrees=-90 if name.startswith("turned") else 0)
    facts, shown = facts_of(nursery, path), storyboard(nursery, path)
    assert (facts["width"], facts["height"]) == size
    assert {picture.shape for picture in shown} == {(size[1], size[0], 3)}
    whole = media.frames(plain, "rgb24", (320, 240))
    left, top = crop[0] // 2 * 2, crop[1] // 2 * 2
    wide, high = size[::-1] if name.startswith("turned") else size
    whole = whole[:, top : top + high, left : left + wide]
    whole = np.rot90(whole, -facts["rotation"] // 90, (1, 2))
    assert min(cv2.PSNR(picture, np.ascontiguousarray(frame)) for picture, frame in zip(shown, whole, strict=True)) > 30


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("change.ts", "-c:v mpeg2video -q:v 3 -bf 2 -an"),
        ("change.mpg", "-c:v mpeg2video -q:v 3 -bf 2 -an"),
        ("change.h264", f"{X264} -bf 3"),
        ("h264.ts", f"{X264} -bf 3"),
    ],
)
def test_every_part_is_in_its_own_shape(nursery: Nursery, media: Any, tmp_path: Path, name: str, how: str) -> None:
    parts = []
    for index, (aspect, start) in enumerate((("1/1", 0), ("4/3", 1), ("1/1", 2))):
        cut = f"-ss {start} -t 1 -i {media('numbered.mkv')} -vf setsar={aspect} {how} -output_ts_offset {2 * start}"
        parts.append(media.made(tmp_path / f"{index}{Path(name).suffix}", cut).read_bytes())
    path = tmp_path / name
    path.write_bytes(b"".join(parts))
    facts, shown = facts_of(nursery, path), storyboard(nursery, path)
    assert (facts["sample_aspect_ratio"], facts["width"], facts["height"]) == ("1:1", 320, 240)
    sizes = {media.number(picture): picture.shape[1::-1] for picture in shown}
    assert sizes == {number: ((320, 240), (427, 240), (320, 240))[number // 25] for number in range(75)}


def test_the_containers_shape_goes_before_the_frames(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    source = media.made(tmp_path / "own.mp4", f"-t 0.2 -i {media('numbered.mkv')} -vf setsar=4/3 {X264}")
    path = media.made(tmp_path / "stated.mp4", f"-i {source} -c copy -aspect 1:1")
    assert {picture.shape for picture in storyboard(nursery, path)} == {(320, 320, 3)}
    assert facts_of(nursery, path)["sample_aspect_ratio"] == "3:4"


def test_encoders_get_even_sides(media: Any) -> None:
    """An odd last column and line are cut off, and nothing is scaled."""
    with av.open(str(media("odd.mp4"))) as opened:
        stream: VideoStream = opened.streams.video[0]
        scaler = Scaler(lambda *size: size, "yuv420p", stream, even=True)
        frame = next(opened.decode(stream))
        picture = scaler.frame(frame)
        assert (picture.width, picture.height) == (320, 180)
        assert (picture.to_ndarray()[:180] == frame.to_ndarray()[0, :180, :320]).all()


def test_lines_of_a_flipped_picture_go_forwards_in_memory(media: Any, tmp_path: Path) -> None:
    path = media.turned(media("closed_gop.mp4"), tmp_path / "flipped.mp4", degrees=0, vflip=True)
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        picture = Scaler(lambda *size: size, "yuv420p", stream, even=True).frame(next(opened.decode(stream)))
        assert all(plane.line_size > 0 for plane in picture.planes)

"""Clips of videos whose frames are numbered: whatever happens within the stream, each has its own frames and sound."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gpu_kernels.cutting.cut import cut_clip
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.spans import Span
from gpu_kernels.sandbox import Nursery
from gpu_kernels.sandbox.messages import raw
from gpu_kernels.scan.scan import ScanChunk, read_scan

SPANS = ((12, 138), (162, 288), (140, 160))
"""Two shots without their edges, and what lies across the cut."""

X264 = "-c:v libx264 -preset ultrafast -crf 18 -bf 2 -g 50 -x264-params scenecut=0 -pix_fmt yuv420p"
MPEG2 = "-c:v mpeg2video -q:v 3 -bf 2 -g 25 -c:a mp2"


def halves(media: Any, folder: Path, suffix: str, first: str, second: str) -> Path:
    """Both halves of the numbered video, each made with its own options, in one file."""
    numbered = media("numbered.mkv")
    paths = [
        media.made(folder / f"{index}.{suffix}", f"{part} -i {numbered} {options}")
        for index, (part, options) in enumerate((("-t 6", first), ("-ss 6", second)))
    ]
    path = folder / f"joined.{suffix}"
    path.write_bytes(b"".join(each.read_bytes() for each in paths))
    return path


GOES_ON = "-output_ts_offset 6"
CONDITIONS: dict[str, Callable[[Any, Path], Path]] = {
    "size": lambda media, folder: halves(
        media, folder, "ts", f"{X264} -c:a aac", f"{X264} -s 640x480 -c:a aac {GOES_ON}"
    ),
    "shape": lambda media, folder: halves(
        media, folder, "ts", f"{X264} -c:a aac", f"{X264} -s 480x240 -c:a aac {GOES_ON}"
    ),
    "size_mpeg2": lambda media, folder: halves(media, folder, "ts", MPEG2, f"{MPEG2} -s 640x480 {GOES_ON}"),
    "colours": lambda media, folder: halves(
        media,
        folder,
        "ts",
        f"{X264} {media.coloured('bt470bg', 'smpte170m', 'bt470bg')} -c:a aac",
        f"{X264} {media.coloured('bt709', 'bt709', 'bt709')} -c:a aac {GOES_ON}",
    ),
    "clock": lambda media, folder: halves(media, folder, "ts", f"{X264} -c:a aac", f"{X264} -c:a aac"),
    "cells": lambda media, folder: halves(media, folder, "vob", f"{MPEG2} -f vob", f"{MPEG2} -f vob"),
    "cut_out": lambda media, folder: halves(
        media, folder, "ts", f"{X264} -c:a aac", f"{X264} -c:a aac -output_ts_offset 500"
    ),
    "joined_mkv": lambda media, folder: halves(media, folder, "mkv", f"{X264} -c:a aac", f"{X264} -c:a aac"),
    "avi": lambda media, folder: media.made(folder / "b.avi", f"-i {media('numbered.mkv')} {X264} -c:a mp3"),
    "mpeg4_avi": lambda media, folder: media.made(
        folder / "b.avi", f"-i {media('numbered.mkv')} -c:v mpeg4 -bf 2 -q:v 3 -g 50 -c:a mp3"
    ),
    "ts": lambda media, folder: media.made(folder / "a.ts", f"-i {media('numbered.mkv')} {X264} -c:a aac"),
    "late_sound": lambda media, folder: media.made(
        folder / "late.mkv", f"-i {media('numbered.mkv')} {X264} -af atrim=start=7 -c:a flac"
    ),
}


def mono(path: Path) -> tuple[np.ndarray, float]:
    """The sound of a file at 48 kHz, and when it begins in seconds."""
    with av.open(str(path)) as opened:
        if not opened.streams.audio:
            return np.zeros(0), 0.0
        resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
        frames = [part for frame in opened.decode(audio=0) for part in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray().ravel() for frame in frames]), float(frames[0].time or 0)


def delay(heard: np.ndarray, wanted: np.ndarray) -> float:
    """By how many seconds what is heard comes after what is wanted, within half a second."""
    size = min(len(heard), len(wanted))
    spectrum = np.fft.rfft(heard[:size], 2 * size) * np.conj(np.fft.rfft(wanted[:size], 2 * size))
    correlation = np.fft.irfft(spectrum)
    within = np.concatenate([correlation[-24_000:], correlation[:24_000]])
    return (int(within.argmax()) - 24_000) / 48_000


@pytest.mark.parametrize("method", ["copy", pytest.param("encode", marks=pytest.mark.deep)])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_clip_has_its_own_frames_and_sound(
    nursery: Nursery, media: Any, tmp_path: Path, condition: str, method: str
) -> None:
    source = CONDITIONS[condition](media, tmp_path)
    ((facts, _),) = nursery.run("gpu_kernels.media.containers:probe", raw, [str(source)], path=str(source))
    parts = [part for part in read_scan(nursery, str(source), None, ()) if isinstance(part, ScanChunk)]
    times = np.concatenate([part.pts_ns for part in parts])
    with av.open(str(source)) as opened:
        numbers = [media.number(frame.to_ndarray(format="rgb24")) for frame in opened.decode(video=0)]
    assert len(times) == len(numbers) >= 299  # at a change of size, FFmpeg's decoder of MPEG-2 loses the frame it holds
    ends = np.append(times[1:], facts["first_pts_ns"] + facts["duration_ns"])
    sound, _ = mono(media("numbered.mkv"))
    config = ClipFilesConfig.model_validate({"method": method, "preset": "ultrafast"})
    for start, end in (*SPANS, (288, len(times))):
        clip = tmp_path / "clip.mp4"
        span = Span(start, end, int(times[start]), int(ends[end - 1]), facts["clock_restarts"])
        cut_clip(nursery, str(source), str(clip), span, config)
        with av.open(str(clip)) as opened:
            frames = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in opened.decode(video=0)]
            pictures = [
                # What has another shape than the clip's first frame lies within it, with black above and below.
                picture[40:200] if condition == "shape" and start < 150 <= start + index else picture
                for index, (picture, _) in enumerate(frames)
            ]
            assert [media.number(picture) for picture in pictures] == numbers[start:end]
            lasting = opened.streams.video[0].duration * opened.streams.video[0].time_base
        assert float(lasting) == pytest.approx((ends[end - 1] - times[start]) / 1e9, abs=0.002)
        wanted_times = (times[start:end] - times[start]) / 1e9
        np.testing.assert_allclose([time for _, time in frames], wanted_times, rtol=0, atol=0.002)
        if condition == "late_sound" and end <= 7 * 25:
            assert len(mono(clip)[0]) == 0
        elif end - start > 25:
            heard, begins = mono(clip)
            assert abs(begins) < 0.03
            wanted = sound[numbers[start] * 1920 : (numbers[end - 1] + 1) * 1920]
            assert len(heard) == pytest.approx(len(wanted), abs=0.08 * 48_000)
            assert abs(delay(heard, wanted)) < 0.03, f"{condition}: {start} to {end}"


@pytest.mark.parametrize("method", ["copy", "encode"])
@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("in_order.wmv", f"{X264} -an"),
        ("in_order.mxf", f"{X264} -an"),
        ("few_times.mpg", f"{X264} -c:a mp2"),
        ("cut_off.mxf", "-c:v mpeg2video -q:v 3 -bf 2 -g 25 -an"),
    ],
)
def test_times_that_lead_elsewhere_give_no_other_frames(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, codecs: str, method: str
) -> None:
    """Times in the order of decoding, times of some frames only, and times that are others after seeking."""
    source = media.made(tmp_path / name, f"-t 3 -i {media('numbered.mkv')} {codecs}")
    if name == "cut_off.mxf":
        data = source.read_bytes()
        source.write_bytes(data[: len(data) * 9 // 10])
    parts = [part for part in read_scan(nursery, str(source), None, ()) if isinstance(part, ScanChunk)]
    times = np.concatenate([part.pts_ns for part in parts])
    np.testing.assert_allclose(times - times[0], np.arange(len(times)) * 4e7, rtol=0, atol=2e6)
    config = ClipFilesConfig.model_validate({"method": method, "preset": "ultrafast"})
    for start, end in ((0, 24), (35, 66)):
        cut_clip(nursery, str(source), str(tmp_path / "c.mp4"), Span(start, end, *times[[start, end]].tolist()), config)
        with av.open(str(tmp_path / "c.mp4")) as opened:
            frames = [(media.number(frame.to_ndarray(format="rgb24")), frame.time) for frame in opened.decode(video=0)]
        assert [number for number, _ in frames] == list(range(start, end))
        np.testing.assert_allclose([time for _, time in frames], np.arange(end - start) / 25, rtol=0, atol=0.002)

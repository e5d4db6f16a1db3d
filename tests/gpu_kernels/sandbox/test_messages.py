"""A child that was taken over may send anything: it is one `MediaError`, and takes no memory to speak of."""

import copy
import json
import math
import os
import struct
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_kernels.cutting.cut import cut_clip, read_back
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.spans import Span
from gpu_kernels.media.containers import VideoFacts
from gpu_kernels.media.segments import WHOLE, Segment
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery, reader_of
from gpu_kernels.sandbox.messages import messages, understood
from gpu_kernels.scan.messages import ScanChunk, ScanEnd, ScanReader

Header = dict[str, Any]


def received(sent: bytes) -> list[Any]:
    """What comes of bytes that a child writes and then ends."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(sent)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return list(messages(reader, DecodingLimits(stall_seconds=5)))
    finally:
        os.close(reader)
        thread.join()


def frame(header: bytes) -> bytes:
    return struct.pack("<I", len(header)) + header


@pytest.mark.parametrize(
    "sent",
    [
        frame(b"\xff\xfe{"),
        frame(b"[]"),
        frame(b"{}"),
        frame(b'{"_sizes": 3}'),
        frame(b'{"_sizes": ["3"]}'),
        frame(b'{"_sizes": [-1]}'),
        frame(b'{"_sizes": [true]}'),
        frame(b'{"_sizes": [1e999]}'),
        frame(b'{"_sizes": [%s]}' % (b"9" * 5000)),
        frame(b'{"_sizes": [%s]}' % b",".join([b"0"] * 2000)),
        frame(b'{"_sizes": [1073741825]}'),
        frame(b'{"_sizes": [536870912, 536870912, 1]}'),
        frame(b'{"_sizes": [], "x": %s}' % (b"[" * 100_000)),
        struct.pack("<I", 0xFFFFFFFF),
        struct.pack("<I", (8 << 20) + 1) + bytes(1000),
    ],
)
def test_what_is_no_message_is_an_error(sent: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MediaError, match="not a message"):
            received(sent)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("first", "said"),
    [(b"", frame(b'{"_sizes": [], "kind": "progress"}')), (struct.pack("<I", 1 << 20), b"x")],
    ids=["progress", "a message byte by byte"],
)
def test_a_child_that_says_something_for_ever_is_not_waited_for(first: bytes, said: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, first)
    over = threading.Event()

    def drip() -> None:
        with suppress(BrokenPipeError):
            while not over.wait(0.05):
                os.write(writer, said)
        os.close(writer)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(MediaError, match=r"more than 1 s \(limits\.wait_seconds\)"):
            list(messages(reader, DecodingLimits(stall_seconds=60, wait_seconds=1)))
    finally:
        over.set()
        thread.join()
        os.close(reader)


@given(st.binary(max_size=64))
def test_no_bytes_bring_another_error(sent: bytes) -> None:
    with suppress(MediaError):
        received(sent)


# ---------------------------------------------------------------- a scan


def chunk(count: int = 3, **changes: Any) -> tuple[Header, list[memoryview]]:
    header = {
        "kind": "chunk",
        "count": count,
        "motion": [{"frame": 1, "pts_ns": 40, "by_flow": False, "distance": 1, "patches": [[0.5, 0.25]]}],
        "references": [{"frame": 0, "mean": 0.5, "centres": [[0.5, 0.25]]}],
        "storyboards": [[{"frame": 0, "pts_ns": 0, "width": 64, "height": 48, "sharpness": 3.5}]],
        "samples": [{"frame": 1, "other": 2, "step_ns": 40, "quality": [0.5] * 7, "step": [0.0] * 6}],
        "overviews": [0, 2],
    }
    buffers = [
        np.zeros((count, 27, 48, 3), np.uint8),
        np.arange(count, dtype=np.int64) * 40,
        np.full(count, 0.5, np.float32),
        np.zeros(count, np.float32),
        np.zeros((2, 81, 144), np.uint8),
    ]
    return header | changes, [*(memoryview(buffer.tobytes()) for buffer in buffers), memoryview(b"jpeg")]


DONE = {"kind": "done", "decode_errors": 0, "damaged_frames": 1}


def test_an_honest_scan_is_read() -> None:
    read = ScanReader(WHOLE, 1)
    first = understood(read, *chunk())
    assert isinstance(first, ScanChunk) and first.thumbnails.shape == (3, 27, 48, 3)
    assert [(each.frame, each.picture.shape) for each in first.overviews] == [(0, (81, 144)), (2, (81, 144))]
    assert understood(read, DONE, []) == ScanEnd(0, 1) and read.ended


def without(name: str) -> Callable[[Header], None]:
    return lambda header: header.pop(name)


def setting(*path: str | int, to: Any) -> Callable[[Header], None]:
    def change(header: Any) -> None:
        for step in path[:-1]:
            header = header[step]
        header[path[-1]] = to

    return change


LIES: list[Callable[[Header], None]] = [
    without("kind"),
    without("count"),
    without("motion"),
    setting("kind", to="chunks"),
    setting("kind", to=["chunk"]),
    setting("count", to="3"),
    setting("count", to=4),
    setting("count", to=0),
    setting("count", to=-3),
    setting("count", to=10**30),
    setting("count", to=True),
    setting("more", to=1),
    setting("motion", to={}),
    setting("motion", 0, "frame", to=99),
    setting("motion", 0, "frame", to=-1),
    setting("motion", 0, "pts_ns", to=1 << 63),
    setting("motion", 0, "by_flow", to="no"),
    setting("motion", 0, "distance", to=0),
    setting("motion", 0, "distance", to=1 << 31),
    setting("motion", 0, "patches", to=[]),
    setting("motion", 0, "patches", to=[[1.0], []]),
    setting("motion", 0, "patches", to=[["1"]]),
    setting("motion", 0, "patches", to=[[math.nan]]),
    setting("motion", 0, "patches", to=[[math.inf]]),
    setting("motion", 0, "patches", to=[[1e300]]),
    without("references"),
    setting("references", 0, "frame", to=3),
    setting("references", 0, "mean", to=math.nan),
    setting("references", 0, "centres", to=[[1.0], []]),
    setting("references", 0, "centres", to=[[math.inf]]),
    setting("references", 0, "centres", to=[[1e300]]),
    setting("storyboards", to=[]),
    setting("storyboards", to=[[]]),
    setting("storyboards", 0, 0, "frame", to=3),
    setting("storyboards", 0, 0, "width", to=0),
    setting("storyboards", 0, 0, "width", to=1 << 31),
    setting("storyboards", 0, 0, "sharpness", to=math.nan),
    setting("storyboards", 0, 0, "jpeg", to="jpeg"),
    setting("samples", 0, "frame", to=3),
    setting("samples", 0, "other", to=1),
    setting("samples", 0, "step_ns", to=0),
    setting("samples", 0, "quality", to=[0.5] * 6),
    setting("samples", 0, "step", to=[math.nan] * 6),
    setting("samples", 0, "step", to=[1e300] * 6),
    without("overviews"),
    setting("overviews", to=[]),
    setting("overviews", to=[0]),
    setting("overviews", to=[0, 3]),
    setting("overviews", to=[2, 0]),
    setting("overviews", to=[0, "2"]),
]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_a_chunk_is_an_error(lie: Callable[[Header], None]) -> None:
    header, buffers = chunk()
    understood(ScanReader(WHOLE, 1), copy.deepcopy(header), buffers)  # without the lie, nothing is wrong
    lie(header := copy.deepcopy(header))
    with pytest.raises(MediaError, match="not a message"):
        understood(ScanReader(WHOLE, 1), header, buffers)


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("size", [0, 1, 12, 4096])
def test_a_buffer_of_another_size_is_an_error(index: int, size: int) -> None:
    header, buffers = chunk()
    if index == 5 and size:
        return  # a picture may have any size
    sizes = {2: 12, 3: 12}
    if sizes.get(index) == size:
        return
    buffers[index] = memoryview(bytes(size))
    with pytest.raises(MediaError, match="not a message"):
        understood(ScanReader(WHOLE, 1), header, buffers)


def test_shares_and_times_are_such() -> None:
    for index, values in (
        (2, np.array([0, 2, 0], np.float32)),
        (3, np.array([0, np.nan, 0], np.float32)),
        (1, [5, 5, 6]),
    ):
        header, buffers = chunk()
        buffers[index] = memoryview(np.asarray(values, None if index != 1 else np.int64).tobytes())
        with pytest.raises(MediaError, match="not a message"):
            understood(ScanReader(WHOLE, 1), header, buffers)


def test_messages_that_do_not_follow_each_other_are_errors() -> None:
    quiet = {"motion": [], "references": [], "storyboards": [[]], "samples": [], "overviews": []}
    with pytest.raises(MediaError, match="0 frames"):
        understood(ScanReader(WHOLE, 1), DONE, [])
    twice, ended, cut_off = ScanReader(WHOLE, 1), ScanReader(WHOLE, 1), ScanReader(Segment(0, 5, 0, None, 200), 1)
    for read in (twice, ended, cut_off):
        header, buffers = chunk(**quiet)
        understood(read, header, buffers[:4])
    with pytest.raises(MediaError, match="times go back"):
        understood(twice, header, buffers[:4])
    understood(ended, DONE, [])
    with pytest.raises(MediaError, match="after the end"):
        understood(ended, DONE, [])
    with pytest.raises(MediaError, match="3 frames"):
        understood(cut_off, DONE, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(st.data())
def test_no_header_brings_another_error(data: st.DataObject) -> None:
    header, buffers = chunk()
    key = data.draw(st.sampled_from([*header, "_", "buffers"]))
    header[key] = data.draw(JSON)
    try:
        understood(ScanReader(WHOLE, 1), json.loads(json.dumps(header)), buffers)
    except MediaError as error:
        str(error).encode()


# ---------------------------------------------------------------- the facts about a file


@pytest.mark.parametrize(
    "lie",
    [
        without("codec"),
        setting("kind", to="done"),
        setting("width", to=1 << 40),
        setting("width", to=-1),
        setting("average_rate", to=0.0),
        setting("average_rate", to=math.inf),
        setting("codec", to="h" * 5000),
        setting("codec", to="\ud800"),
        setting("codec", to=None),
        setting("duration_ns", to=1 << 62),
        setting("segment_pts_ns", to=[5, 4]),
        setting("segment_pts_ns", to=[0.5]),
        setting("dynamic_range", to="bright"),
        setting("video_id", to="another's"),
    ],
)
def test_a_lie_about_a_file_is_an_error(lie: Callable[[Header], None]) -> None:
    facts = FACTS.model_dump()
    assert understood(reader_of(VideoFacts), facts, []) == FACTS
    lie(facts)
    with pytest.raises(MediaError, match="not a message"):
        understood(reader_of(VideoFacts), facts, [])
    with pytest.raises(MediaError, match="not a message"):
        understood(reader_of(VideoFacts), FACTS.model_dump(), [memoryview(b"more")])


FACTS = VideoFacts(
    container="mov",
    stream_index=0,
    codec="h264",
    pixel_format="yuv420p",
    width=64,
    height=48,
    coded_width=64,
    coded_height=48,
    rotation=0,
    mirrored=False,
    sample_aspect_ratio="1:1",
    dynamic_range="sdr",
    interlaced=False,
    average_rate=25.0,
    real_rate=25.0,
    constant_rate=True,
    duration_ns=10**9,
    first_pts_ns=0,
    frames=25,
    keyframes=1,
    incomplete=False,
    clock_restarts=0,
    segment_pts_ns=[40, 80],
    audio_index=None,
    audio_codec=None,
    audio_sample_rate=None,
    audio_channels=None,
    audio_error=None,
    video_streams=1,
)


# ---------------------------------------------------------------- a clip


class Liar(Nursery):
    """Its children say what they are given to say."""

    def __init__(self, *said: tuple[Header, list[memoryview]]) -> None:
        super().__init__(DecodingLimits())
        self._said = said

    def run(self, operation: str, read: Any, files: Any, **arguments: Any) -> Any:
        for header, buffers in self._said:
            yield understood(read, header, buffers)


PART = ({"kind": "part"}, [memoryview(b"movie")])
INSPECTED = {"kind": "clip", "frames": 5, "width": 64, "height": 48, "has_audio": False}


@pytest.mark.parametrize(
    "said",
    [
        [],
        [PART],
        [({"kind": "whole", "copied": 6, "cropped": False}, [])],
        [({"kind": "whole", "copied": -1, "cropped": False}, [])],
        [({"kind": "whole", "copied": "5", "cropped": False}, [])],
        [({"kind": "whole", "cropped": False}, [])],
        [({"kind": "whole", "copied": 5}, [])],
        [({"kind": "part"}, []), ({"kind": "whole", "copied": 5, "cropped": False}, [])],
        [({"kind": "part", "copied": 5}, PART[1])],
    ],
)
@pytest.mark.parametrize("method", ["copy", "encode"])
def test_a_lie_about_a_cut_is_an_error(tmp_path: Path, said: list[Any], method: str) -> None:
    span, config = Span(0, 5, 0, 200), ClipFilesConfig.model_validate({"method": method})
    honest = Liar(PART, PART, ({"kind": "whole", "copied": 5, "cropped": False}, []))
    assert cut_clip(honest, "source", str(tmp_path / "clip"), span, config) == 5
    assert (tmp_path / "clip").read_bytes() == b"moviemovie"
    with pytest.raises(MediaError):
        cut_clip(Liar(*said), "source", str(tmp_path / "clip"), span, config)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [(INSPECTED, [])],
        [(INSPECTED, [memoryview(b"jpeg")] * 2)],
        [(INSPECTED | {"frames": 1 << 63}, [memoryview(b"jpeg")])],
        [(INSPECTED | {"width": 0}, [memoryview(b"jpeg")])],
        [(INSPECTED | {"has_audio": None}, [memoryview(b"jpeg")])],
        [(INSPECTED, [memoryview(b"jpeg")])] * 2,
    ],
)
def test_a_lie_about_a_clip_is_an_error(said: list[Any]) -> None:
    assert read_back(Liar((INSPECTED, [memoryview(b"jpeg")])), "clip", ClipFilesConfig()).thumbnail == b"jpeg"
    with pytest.raises(MediaError):
        read_back(Liar(*said), "clip", ClipFilesConfig())

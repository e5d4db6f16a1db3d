"""Copied clips: what is copied is identical, what is encoded is close, and what cannot be copied exactly is not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import av
import cv2
import decord
import numpy as np
import pytest

from gpu_kernels.codecs import hevc
from gpu_kernels.codecs.bitstream import Bitstream
from gpu_kernels.codecs.h264 import IDR, ParameterSets, kind
from gpu_kernels.codecs.nal_units import split
from gpu_kernels.cutting.copied_runs import bitstream_of
from gpu_kernels.cutting.cut import copy_clip, cut_clip
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.spans import Span
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery
from gpu_kernels.sandbox.messages import raw

CONFIG = ClipFilesConfig()


class Source:
    """A video with all its frames, uint8 [height * 3 / 2, width] planes of 4:2:0, and their times in nanoseconds."""

    def __init__(self, nursery: Nursery, path: Path) -> None:
        self.path, self._nursery = path, nursery
        with av.open(str(path)) as opened:
            tick = opened.streams.video[0].time_base
            decoded = [(int(frame.pts * tick * 10**9), frame.to_ndarray()) for frame in opened.decode(video=0)]
        self.times = np.array([time for time, _ in decoded])
        self.ends = np.append(self.times[1:], 2 * self.times[-1] - self.times[-2])
        self.frames = [frame for _, frame in decoded]

    def span(self, start: int, end: int) -> Span:
        return Span(start, end, int(self.times[start]), int(self.ends[end - 1]))

    def copy(self, target: Path, start: int, end: int) -> int:
        return copy_clip(self._nursery, str(self.path), str(target), self.span(start, end), CONFIG)

    def cut(self, target: Path, start: int, end: int) -> int:
        return cut_clip(self._nursery, str(self.path), str(target), self.span(start, end), CONFIG)

    def check(self, path: Path, start: int, end: int, copied: int, least: float = 40) -> None:
        """A clip has the frames of the span at their times, and at least `copied` of them unchanged."""
        seconds = (self.ends[end - 1] - self.times[start]) / 1e9
        with av.open(str(path)) as opened:
            stream = opened.streams.video[0]
            tick = stream.time_base
            assert float(stream.duration * tick) == pytest.approx(seconds, abs=0.002)
            first = next(opened.demux(stream))
            assert -0.5 * seconds < float(first.dts * tick) <= float(first.pts * tick) == 0
            opened.seek(0)
            frames = list(opened.decode(stream))
        own = self.frames[start:end]
        assert len(frames) == len(own)
        times = [float((frame.pts - frames[0].pts) * tick) for frame in frames]
        np.testing.assert_allclose(times, (self.times[start:end] - self.times[start]) / 1e9, rtol=0, atol=1e-4)
        same = 0
        for clip, source in zip((frame.to_ndarray() for frame in frames), own, strict=True):
            same += (identical := np.array_equal(clip, source))
            assert identical or cv2.PSNR(clip, source) > least
        assert same >= copied


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as opened:
        return [bytes(packet) for packet in opened.demux(video=0) if packet.size]


PICTURE = "-f lavfi -i testsrc2=s=320x180:r=30:d=4,noise=alls=20:allf=t"
VARIANTS = {
    "high_profile.mp4": f"{PICTURE} -c:v libx264 -preset medium -g 40 -x264-params scenecut=0:bframes=8:ref=6 "
    "-pix_fmt yuv420p -color_primaries bt709 -color_trc bt709 -colorspace bt709",
    "baseline.mp4": f"{PICTURE} -c:v libx264 -profile:v baseline -g 40 -pix_fmt yuv420p",
    "slices.mp4": f"{PICTURE} -c:v libx264 -preset veryfast -g 40 -x264-params scenecut=0:slices=4:aud=1 "
    "-pix_fmt yuv420p",
    "milliseconds.mkv": f"{PICTURE} -c:v libx264 -preset veryfast -g 40 -pix_fmt yuv420p",
    "repeated_sets.ts": f"{PICTURE} -c:v libx264 -preset veryfast -g 40 -x264-params repeat-headers=1 -pix_fmt yuv420p "
    "-output_ts_offset 100",
}
SMALL = "-f lavfi -i testsrc2=s=128x96:r=30:d=4,noise=alls=20:allf=t -pix_fmt yuv420p"
X265 = f"{SMALL} -c:v libx265 -preset ultrafast"
X265_PARAMS = "-x265-params log-level=none:pools=none:frame-threads=1:scenecut=0:keyint=40:bframes=4"
LIBVPX = f"{SMALL} -c:v libvpx-vp9 -crf 20 -b:v 0 -g 40"
OTHER_CODECS = {
    "closed_hevc.mp4": f"{X265} {X265_PARAMS}:open-gop=0:b-pyramid=1:ref=3",
    "open_hevc.mp4": f"{X265} -tag:v hvc1 {X265_PARAMS}:open-gop=1:b-adapt=0",
    "hevc.ts": f"{X265} {X265_PARAMS}:open-gop=0:aud=1:repeat-headers=1",
    "hidden_frames_vp9.webm": f"{LIBVPX} -deadline good -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 16",
    "vp9.mp4": f"{LIBVPX} -deadline realtime -cpu-used 8",
}
"""In the open ones, frames just before each 40th are decoded after it."""


@pytest.mark.parametrize("name", [*VARIANTS, "closed_gop.mp4", "edit_list.mp4", "vfr.mp4", "intra.mp4"])
def test_copied_frames_are_identical_and_the_others_above_40_db(
    nursery: Nursery, media: Any, tmp_path: Path, name: str
) -> None:
    source = Source(nursery, media.made(tmp_path / name, VARIANTS[name]) if name in VARIANTS else media(name))
    total = len(source.frames)
    clip = tmp_path / "clip.mp4"
    for start, end in [(0, total), (23, 67), (20, 60)]:
        copied = source.cut(clip, start, end)
        assert copied > 0
        source.check(clip, start, end, copied)
        data = clip.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
        assert any(kind(nal) == IDR for nal in split(packets(clip)[0], 4))


@pytest.mark.parametrize("name", OTHER_CODECS)
def test_so_they_are_in_other_codecs(nursery: Nursery, media: Any, tmp_path: Path, name: str) -> None:
    source, clip = Source(nursery, media.made(tmp_path / name, OTHER_CODECS[name])), tmp_path / "clip.mp4"
    total = len(source.frames)
    least = 0 if "vp9" in name else 6  # frames are encoded behind, at most, where a group is left
    chance = Random(name)
    for start, end in [(0, total), (40, 77), (40, 80), *(sorted(chance.sample(range(total), 2)) for _ in range(3))]:
        keyframe = -(-start // 40) * 40
        copied = source.cut(clip, start, end)
        assert copied >= end - keyframe - least or end - keyframe < (end - start) / 4 + least, (start, end)
        source.check(clip, start, end, copied, least=40 if copied else 30)
        with av.open(str(clip)) as opened:
            tag = opened.streams.video[0].codec_context.codec_tag
            assert tag == ("avc1" if copied == 0 else "vp09" if "vp9" in name else "hvc1")


@pytest.mark.parametrize("name", ["closed_hevc.mp4", "vp9.mp4"])
def test_from_keyframe_to_keyframe_the_packets_are_the_sources(
    nursery: Nursery, media: Any, tmp_path: Path, name: str
) -> None:
    source, clip = Source(nursery, media.made(tmp_path / name, OTHER_CODECS[name])), tmp_path / "clip.mp4"
    assert source.copy(clip, 40, 80) == 40
    assert packets(clip) == packets(source.path)[40:80]


def test_an_open_group_of_hevc_is_entered_without_what_leads_to_it(
    nursery: Nursery, media: Any, tmp_path: Path
) -> None:
    """Its keyframe says that it is an entry; those within say nothing, because readers must not seek to them."""
    source = Source(nursery, media.made(tmp_path / "source.mp4", OTHER_CODECS["open_hevc.mp4"]))
    clip = tmp_path / "clip.mp4"
    assert source.copy(clip, 38, 118) >= 76
    kinds = [next(k for nal in split(packet, 4) if (k := hevc.kind(nal)) < hevc.VPS) for packet in packets(clip)]
    with av.open(str(clip)) as opened:
        keys = [entry.is_keyframe for entry in opened.streams.video[0].index_entries]
    assert [kind for kind, key in zip(kinds, keys, strict=True) if key][1] == hevc.BLA_N_LP  # after what is encoded
    within = {(keys[at], kinds[at + 1] in hevc.LEADING) for at, kind in enumerate(kinds[:-1]) if kind == hevc.CRA}
    assert (False, True) in within and (True, True) not in within


@pytest.mark.parametrize("name", ["closed_gop.mp4", "offset.ts"])
def test_from_keyframe_to_keyframe_nothing_is_encoded(nursery: Nursery, media: Any, tmp_path: Path, name: str) -> None:
    source, clip = Source(nursery, media(name)), tmp_path / "clip.mp4"
    assert source.copy(clip, 40, 80) == 40
    source.check(clip, 40, 80, copied=40)
    slices = [[nal for nal in split(packet, 4) if kind(nal) <= IDR] for packet in packets(clip)]
    length_size = None if name.endswith("ts") else 4
    assert slices == [
        [nal for nal in split(packet, length_size) if kind(nal) <= IDR] for packet in packets(source.path)[40:80]
    ]


def test_an_open_group_is_left_cleanly_but_not_entered(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """Frames just before each keyframe are decoded after it; only the very first is an IDR picture."""
    source, clip = Source(nursery, media("open_gop.mp4")), tmp_path / "clip.mp4"
    for end in range(36, 46):
        copied = source.copy(clip, 0, end)
        source.check(clip, 0, end, copied)
        assert copied >= end - 4
    with pytest.raises(MediaError, match="no keyframe that stands by itself"):
        source.copy(clip, 38, 110)


def test_every_end_is_clean(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """Wherever a pyramid of B-frames is cut, no more than its own frames are encoded."""
    source, clip = Source(nursery, media("closed_gop.mp4")), tmp_path / "clip.mp4"
    for end in range(60, 70):
        copied = source.copy(clip, 40, end)
        source.check(clip, 40, end, copied)
        assert copied >= end - 40 - 3


def test_sound_may_end_before_the_clip_begins(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    one_second = f"-f lavfi -i sine=d=1 {PICTURE} -c:v libx264 -g 40 -x264-params scenecut=0 -pix_fmt yuv420p"
    source, clip = Source(nursery, media.made(tmp_path / "one_second.mp4", one_second)), tmp_path / "clip.mp4"
    copied = source.copy(clip, 20, 60)
    source.check(clip, 20, 60, copied)
    with av.open(str(clip)) as opened:
        assert opened.streams.audio[0].duration * opened.streams.audio[0].time_base == pytest.approx(1 / 3, abs=0.05)
    assert source.copy(clip, 80, 120) == 40
    source.check(clip, 80, 120, copied=40)


# ---------------------------------------------------------------- readers


def by_ffmpeg(path: Path, media: Any) -> Iterator[np.ndarray]:
    with av.open(str(path)) as opened:
        size = (opened.streams.video[0].width, opened.streams.video[0].height)
    yield from media.frames(path, "rgb24", size)


def by_pyav(path: Path, _media: Any) -> Iterator[np.ndarray]:
    with av.open(str(path)) as opened:
        opened.streams.video[0].thread_type = "AUTO"
        for frame in opened.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def by_decord(path: Path, _media: Any) -> Iterator[np.ndarray]:
    """From the last frame to the first, so that each is sought."""
    reader = decord.VideoReader(str(path))
    yield from reversed([reader[index].asnumpy() for index in reversed(range(len(reader)))])


def by_opencv(path: Path, _media: Any) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while (read := capture.read())[0]:
        count += 1
        yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    assert count == capture.get(cv2.CAP_PROP_FRAME_COUNT)


def by_torchcodec(path: Path, _media: Any) -> Iterator[np.ndarray]:
    """From the last frame to the first, so that each is sought."""
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"torchcodec is not there or finds no shared libraries of FFmpeg: {str(error).splitlines()[0]}")
    decoder = VideoDecoder(str(path), seek_mode="exact")
    frames = [decoder.get_frame_at(index).data for index in reversed(range(len(decoder)))]
    yield from (frame.permute(1, 2, 0).numpy() for frame in reversed(frames))


@pytest.mark.parametrize("reader", [by_ffmpeg, by_pyav, by_decord, by_opencv, by_torchcodec])
@pytest.mark.parametrize("name", ["closed_gop.mp4", "vfr.mp4", "hevc.mp4", "vp9.webm"])
def test_every_reader_sees_the_spans_frames(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, reader: Callable[[Path, Any], Iterator[np.ndarray]]
) -> None:
    """Encoded, copied over a keyframe, encoded: each reader's frames against the source's, read from its beginning.

    By seeking, some see wrong frames in an open group of the source; not in the clip.
    """
    source, clip = Source(nursery, media(name)), tmp_path / "clip.mp4"
    start, end = 33, len(source.frames) - 6
    assert 0 < source.copy(clip, start, end) < end - start
    expected = list(by_pyav(source.path, media))
    seen = list(reader(clip, media))
    assert len(seen) == end - start
    for index, frame in enumerate(seen, start):
        own = cv2.PSNR(frame, expected[index])
        assert own > 38
        assert own > max(cv2.PSNR(frame, expected[index - 1]), cv2.PSNR(frame, expected[index + 1])), index


def test_the_parameter_sets_of_both_are_in_one_record(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    source, clip = Source(nursery, media("closed_gop.mp4")), tmp_path / "clip.mp4"
    source.copy(clip, 33, 90)
    with av.open(str(clip)) as opened, av.open(str(source.path)) as original:
        sets = ParameterSets.read(opened.streams.video[0].codec_context.extradata or b"")
        own = ParameterSets.read(original.streams.video[0].codec_context.extradata or b"")
    assert (sets.sps[:1], sets.pps[:1]) == (own.sps, own.pps)
    assert len(sets.sps) == len(sets.pps) == 2 and own.ids < sets.ids
    assert not any(kind(nal) in (7, 8) for packet in packets(clip) for nal in split(packet, 4))


def test_the_same_bytes_every_time(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    source = Source(nursery, media("closed_gop.mp4"))
    for name in ("one.mp4", "two.mp4"):
        assert source.copy(tmp_path / name, 23, 91) > 0
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


# ---------------------------------------------------------------- what is not copied


@pytest.mark.parametrize("name", ["closed_gop.mp4", "hevc.mp4", "vp9.webm"])
def test_a_damaged_packet_is_refused_or_read(media: Any, name: str) -> None:
    """Cut short and with some bytes changed, a packet raises nothing but what the sandbox makes a failed row of."""
    whole = packets(media(name))[:60:7]
    with av.open(str(media(name))) as opened:
        bitstream: Bitstream = bitstream_of(opened.streams.video[0], DecodingLimits())
    chance, refused = Random(name), 0
    for _ in range(1500):
        packet = bytearray(chance.choice(whole))
        if chance.random() < 0.3:
            del packet[chance.randrange(len(packet)) + 1 :]
        for _ in range(chance.randrange(4)):
            packet[chance.randrange(min(40, len(packet)))] = chance.randrange(256)
        try:
            bitstream.opening(bitstream.picture(bytes(packet)).payload)
        except (MediaError, ValueError, IndexError):
            refused += 1
    assert 0 < refused < 1500


def test_vp9_whose_frames_differ_in_size_is_not_copied(media: Any, tmp_path: Path) -> None:
    large = media.made(tmp_path / "large.mp4", OTHER_CODECS["vp9.mp4"] + " -frames:v 2")
    small = media.made(tmp_path / "small.mp4", OTHER_CODECS["vp9.mp4"] + " -frames:v 1 -vf scale=64:96")
    with av.open(str(large)) as opened:
        bitstream = bitstream_of(opened.streams.video[0], DecodingLimits())
    assert [bitstream.picture(packet).entry for packet in packets(large)] == [True, False]
    with pytest.raises(MediaError, match="differ in size"):
        bitstream.picture(packets(small)[0])


def test_ids_of_hevc_parameter_sets_that_are_in_use_are_left_alone(media: Any) -> None:
    """Whichever is free: the encoder's set is found under it, and no slice needs other emulation prevention."""
    with av.open(str(media("hevc.mp4"))) as opened:
        sets = hevc.ParameterSets.read(opened.streams.video[0].codec_context.extradata or b"")
    assert sets.ids == ({0}, {0}, {0})
    stream, taken = hevc.Hevc(sets), 0
    extradata = b"".join(b"\0\0\0\1" + nal for nal in (*sets.vps, *sets.sps, *sets.pps))
    slices = [bytes([19 << 1, 1, 0b10100000, 0, 0, 3, 1]), bytes([1 << 1, 1, 0b11000000, 0, 0, 3, 1])]
    while True:
        try:
            joined = stream.joined(extradata)
        except MediaError:
            break
        taken += 1
        assert [len(ids) for ids in joined.sets.ids] == [taken + 1] * 3
        for nal in slices:
            ((_, _, *first, zero, _, three, _),) = split(joined.encoded(b"\0\0\0\1" + nal), 4)
            assert first[0] and first[1] and (zero, three) == (0, 3)
            bits = f"{first[0]:08b}{first[1]:08b}"[2 if nal[0] >> 1 == 19 else 1 :]
            assert int(bits[4:9], 2) - 1 == joined.pps_id
        stream = hevc.Hevc(joined.sets)
    assert taken == 12


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("av1.mkv", "only H.264, HEVC and VP9"),
        ("odd.webm", "odd"),
        ("ten_bit.mp4", "in yuv420p are copied"),
        ("sar.mp4", "crop, turn or stretch"),
        ("rotated_90.mp4", "crop, turn or stretch"),
        ("mirrored.mp4", "crop, turn or stretch"),
        ("clap.mp4", "crop, turn or stretch"),
        ("hlg.mp4", "beyond those of ordinary screens"),
        ("raw.h264", "no presentation times"),
    ],
)
def test_what_readers_would_not_show_as_it_is_is_not_copied(
    nursery: Nursery, media: Any, tmp_path: Path, name: str, reason: str
) -> None:
    ((facts, _),) = nursery.run("gpu_kernels.media.containers:probe", raw, [str(media(name))], path=str(media(name)))
    span = Span(0, round(2 * facts["average_rate"]), 0, 2 * 10**9)
    with pytest.raises(MediaError, match=reason):
        copy_clip(nursery, str(media(name)), str(tmp_path / "clip.mp4"), span, CONFIG)


def test_interlaced_video_is_not_copied(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    path = media.made(
        tmp_path / "interlaced.mp4", f"{PICTURE} -c:v libx264 -g 40 -flags +ildct+ilme -x264-params tff=1"
    )
    source = Source(nursery, path)
    with pytest.raises(MediaError, match="progressive"):
        source.copy(tmp_path / "clip.mp4", 0, 60)


def test_a_stream_whose_parameter_sets_change_is_encoded(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """Two encoders' streams one after another, with the same ids for different sets."""
    other = "-x264-params 8x8dct=0:ref=1:cabac=0 -output_ts_offset 2.1"
    one = media.made(tmp_path / "one.ts", f"{PICTURE} -t 2 -c:v libx264 -g 40 -bf 2 -pix_fmt yuv420p")
    two = media.made(tmp_path / "two.ts", f"{PICTURE} -t 2 -c:v libx264 -g 40 -bf 2 -pix_fmt yuv420p {other}")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    source, clip = Source(nursery, joined), tmp_path / "clip.mp4"
    assert source.copy(clip, 0, 40) == 40
    with pytest.raises(MediaError, match="parameter sets change"):
        source.copy(clip, 10, 100)
    assert source.cut(clip, 10, 100) == 0
    source.check(clip, 10, 100, copied=0, least=30)


def test_a_broken_seam_is_caught_and_the_clip_encoded(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """A damaged keyframe is patched up with what was decoded before it, which the clip does not have."""
    data = bytearray(media("closed_gop.mp4").read_bytes())
    keyframe = packets(media("closed_gop.mp4"))[40]
    at = data.index(keyframe) + len(keyframe) // 3
    data[at : at + 200] = bytes(byte ^ 0x5A for byte in data[at : at + 200])
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    source, clip = Source(nursery, damaged), tmp_path / "clip.mp4"
    for start in (30, 40):
        with pytest.raises(MediaError, match="is damaged"):
            source.copy(clip, start, 110)
        assert source.cut(clip, start, 110) == 0
    assert source.copy(clip, 80, 110) > 0  # from the next keyframe on it is sound


def test_frames_reordered_by_more_than_stated_are_not_copied(nursery: Nursery, media: Any, tmp_path: Path) -> None:
    """Decoders that believe the statement drop a frame when they find out, which may be long after the seam."""
    data = media("closed_gop.mp4").read_bytes()
    with av.open(str(media("closed_gop.mp4"))) as opened:
        (sps,) = ParameterSets.read(opened.streams.video[0].codec_context.extradata or b"").sps
    bits = f"{int.from_bytes(sps, 'big'):0{8 * len(sps)}b}"
    # At the end stand, as Exp-Golomb numbers, the frames that are reordered (2) and those that are held, and a 1.
    (held,) = [code for code in ("010", "011", "00100", "00101") if bits.rstrip("0").endswith(f"011{code}1")]
    at = len(bits.rstrip("0")) - len(f"011{held}1")
    lying = int(f"{bits[:at]}010{bits[at + 3 :]}", 2).to_bytes(len(sps), "big")
    path, clip = tmp_path / "lying.mp4", tmp_path / "clip.mp4"
    path.write_bytes(data.replace(sps, lying))
    source = Source(nursery, path)
    with pytest.raises(MediaError, match="at a seam are not the source's"):
        source.copy(clip, 40, 80)
    assert source.cut(clip, 40, 80) == 0
    source.check(clip, 40, 80, copied=0, least=30)

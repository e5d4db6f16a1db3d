"""Small videos with known content, made by ffmpeg when first asked for, and an independent way to read videos."""

import json
import shlex
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.media.ffmpeg import ffmpeg_executable

_PICTURE = "-f lavfi -i testsrc2=s=320x180:r=30:d=4"
# 50 ms of tone at every whole second, so that a clip's sound can be placed in time.
_BEEPS = "-f lavfi -i aevalsrc='sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.05)':s=48000:d=4"
_ODD = "-f lavfi -i testsrc2=s=642x362:r=25:d=2 -vf scale=321:181"
_X264 = "-c:v libx264 -preset ultrafast -crf 16 -pix_fmt yuv420p"
_B_FRAMES = "-bf 3 -g 40 -x264-params scenecut=0:b-pyramid=normal"
_AAC = "-c:a aac"


def coloured(primaries: str, transfer: str, matrix: str) -> str:
    """Options that label colours: older versions of ffmpeg ask the encoder, newer ones the frames."""
    frames = f"-vf setparams=color_primaries={primaries}:color_trc={transfer}:colorspace={matrix}:range=tv"
    return f"{frames} -color_primaries {primaries} -color_trc {transfer} -colorspace {matrix} -color_range tv"


RECIPES = {
    "closed_gop.mp4": f"{_PICTURE} {_BEEPS} {_X264} {_B_FRAMES} {_AAC} -movflags +faststart",
    "open_gop.mp4": f"{_PICTURE} {_BEEPS} {_X264} {_B_FRAMES}:open-gop=1 {_AAC}",
    "slow_open_gop.mp4": f"-f lavfi -i testsrc2=s=320x180:r=2:d=60 {_X264} {_B_FRAMES}:open-gop=1",
    "hevc.mp4": f"{_PICTURE} {_BEEPS} -c:v libx265 -preset ultrafast -crf 16 -pix_fmt yuv420p -tag:v hvc1 "
    f"-x265-params log-level=none:keyint=40:bframes=3:open-gop=1:pools=none:frame-threads=1 {_AAC}",
    "vp9.webm": f"{_PICTURE} {_BEEPS} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -g 40 -c:a libopus",
    "live.webm": f"{_PICTURE} -t 2 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -g 40 -live 1",
    "vp9.ivf": f"{_PICTURE} -t 1 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -g 10",
    "av1.mkv": f"{_PICTURE} {_BEEPS} -c:v libsvtav1 -preset 12 -crf 20 -g 40 -c:a libopus",
    # Thirty frames at 30 per second, then gaps of 1/15 s and 1/30 s in turn.
    "vfr.mp4": f"{_PICTURE} -vf setpts='if(lt(N\\,30)\\,N/30\\,1+(N-30)/20+if(mod(N\\,2)\\,1/30\\,0))/TB' "
    f"-t 3 -fps_mode passthrough -enc_time_base 1:90000 -video_track_timescale 90000 {_X264} {_B_FRAMES}",
    "odd.mp4": f"{_ODD} -c:v libx264 -preset ultrafast -crf 16 -pix_fmt yuv444p",
    "odd.webm": f"{_ODD} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -pix_fmt yuv420p",
    "sar.mp4": f"-f lavfi -i testsrc2=s=360x288:r=25:d=2 -vf setsar=16/15 {_X264}",
    "tall_sar.mkv": f"-f lavfi -i testsrc2=s=320x180:r=25:d=1 -vf setsar=3/4 {_X264}",
    "ten_bit.mp4": "-f lavfi -i testsrc2=s=320x180:r=25:d=2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p10le",
    "hlg.mp4": f"{_PICTURE} {_X264} {_B_FRAMES} {coloured('bt2020', 'arib-std-b67', 'bt2020nc')}",
    "offset.ts": f"{_PICTURE} {_BEEPS} {_X264} {_B_FRAMES} {_AAC} -output_ts_offset 100",
    "divx.avi": f"{_PICTURE} {_BEEPS} -c:v mpeg4 -q:v 3 -g 40 -bf 0 -c:a pcm_s16le",
    "intra.mp4": f"{_PICTURE} {_X264} -g 1",
    "one_frame.mp4": f"{_PICTURE} -frames:v 1 {_X264}",
    "raw.h264": f"{_PICTURE} -t 2 {_X264} {_B_FRAMES}",
    "two_videos.mp4": f"{_PICTURE} -f lavfi -i smptebars=s=160x120:r=10:d=2 -map 0 -map 1 {_X264}",
    "ten_seconds.mp4": f"-f lavfi -i testsrc2=s=640x360:r=30:d=10 {_X264} {_B_FRAMES}",
    "large.mp4": f"-f lavfi -i testsrc2=s=1280x720:r=25:d=2 {_X264}",
    "sound.mp3": f"{_BEEPS} -c:a libmp3lame",
    "sound.m4a": f"{_BEEPS} {_AAC}",
    "picture.jpg": f"{_PICTURE} -frames:v 1 -update 1",
    "picture.png": f"{_PICTURE} -frames:v 1 -update 1",
}


NUMBERED_FRAMES, NUMBERED_CUT = 300, 150
_BLOCKS = 12


class Media:
    """Makes each video once, in `folder`.

    `numbered.mkv` is what other videos are made of whose frames are to be told from each other: lossless, 320x240,
    25 frames per second, a hard cut in the middle and noise as sound. Every picture has its frame number as black and
    white blocks at the bottom (`number`), and a red and a blue corner at the top (`corners`).
    """

    coloured = staticmethod(coloured)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        """The path of a video: one of RECIPES, or one that is made of another below."""
        path = self.folder / name
        if not path.exists():
            if name in RECIPES:
                make(path, RECIPES[name])
            elif name.startswith("rotated_"):
                self.turned(self("closed_gop.mp4"), path, degrees=-int(path.stem.removeprefix("rotated_")))
            elif name == "mirrored.mp4":
                self.turned(self("closed_gop.mp4"), path, degrees=0, hflip=True)
            elif name == "clap.mp4":
                make(path, f"-i {self('numbered.mkv')} -t 4 {_X264} {_B_FRAMES} {_AAC}")
                path.write_bytes(self.with_clean_aperture(path.read_bytes(), (40, 30, 40, 30)))
            elif (
                name == "edit_list.mp4"
            ):  # starts between keyframes: frames before the start are to be decoded, not shown
                make(path, f"-ss 0.5 -i {self('closed_gop.mp4')} -c copy")
            elif name == "numbered.mkv":
                _numbered(path)
            elif name == "two_minutes.mp4":
                make(path, f"-stream_loop 11 -i {self('ten_seconds.mp4')} -c copy")
            elif name == "cover.mp4":
                inputs = f"-i {self('picture.png')} -i {self('closed_gop.mp4')} -map 0 -map 1"
                make(path, f"{inputs} -c copy -disposition:v:0 attached_pic")
            elif name == "truncated.mp4":
                data = self("closed_gop.mp4").read_bytes()
                path.write_bytes(data[: len(data) * 6 // 10])
            else:
                raise KeyError(name)
        return path

    @staticmethod
    def made(path: Path, arguments: str) -> Path:
        """A file that ffmpeg makes anew, of `arguments` as a shell splits them."""
        make(path, arguments)
        return path

    @staticmethod
    def turned(source: Path, target: Path, **turn: Any) -> Path:
        """The packets of `source` with a display matrix: counterclockwise `degrees`, then `hflip`, `vflip`."""
        import av

        with av.open(str(source)) as opened, av.open(str(target), "w") as written:
            streams = {stream.index: written.add_stream_from_template(stream) for stream in opened.streams}
            streams[opened.streams.video[0].index].set_display_rotation(**turn)
            for packet in opened.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    written.mux(packet)
        return target

    @staticmethod
    def with_clean_aperture(data: bytes, crop: tuple[int, ...]) -> bytes:
        """An MP4 file of numbered frames in H.264, its index at the end, that crops: left, top, right, bottom."""
        left, top, right, bottom = crop
        offset = (left - right, top - bottom)
        numbers = (320 - left - right, 1, 240 - top - bottom, 1, offset[0], 2, offset[1], 2)
        box = struct.pack(">I4sIIIIiIiI", 40, b"clap", *numbers)
        index = data.index(b"moov")
        at = data.index(b"avc1", index) - 4
        end = at + struct.unpack_from(">I", data, at)[0]
        grown = bytearray(data[:end] + box + data[end:])
        for name in (b"avc1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
            at = data.index(name, index) - 4
            struct.pack_into(">I", grown, at, struct.unpack_from(">I", data, at)[0] + len(box))
        return bytes(grown)

    @staticmethod
    def frames(path: Path | str, pixels: str, size: tuple[int, int], *options: str) -> np.ndarray:
        """Frames of the first real video stream as the ffmpeg program gives them: uint8 [n, height, width(, 3)].

        In yuv420p, `size` is that of the bytes: half as many lines again, in which the chromas follow the luma."""
        command = [ffmpeg_executable(), "-loglevel", "quiet", "-nostdin", "-i", f"file:{path}", "-map", "0:V:0"]
        command += ["-fps_mode", "passthrough", *options, "-f", "rawvideo", "-pix_fmt", pixels, "-"]
        data = subprocess.run(command, capture_output=True).stdout
        depth = {"gray": (), "rgb24": (3,), "yuv420p": ()}[pixels]
        return np.frombuffer(data, np.uint8).reshape(-1, size[1], size[0], *depth)

    @staticmethod
    def sound(path: Path | str, channels: int) -> np.ndarray:
        """The first sound as the ffmpeg program gives it at 48 kHz: float32 [channels, n]."""
        command = [ffmpeg_executable(), "-loglevel", "quiet", "-nostdin", "-i", f"file:{path}", "-map", "0:a:0"]
        data = subprocess.run([*command, "-ar", "48000", "-f", "f32le", "-"], capture_output=True).stdout
        return np.frombuffer(data, np.float32).reshape(-1, channels).T

    @staticmethod
    def number(picture: np.ndarray) -> int:
        """The frame number in an upright picture of a numbered video, uint8 [height, width(, 3)], of any size."""
        height, width = picture.shape[:2]
        gray = picture.reshape(height, width, -1).mean(2)
        x, y = (16 + 24 * np.arange(_BLOCKS)) * width // 320, 230 * height // 240
        blocks = [gray[y - 1 : y + 2, at - 1 : at + 2].mean() > 128 for at in x]
        return sum(int(bit) << place for place, bit in enumerate(blocks))

    @staticmethod
    def corners(picture: np.ndarray) -> dict[str, str]:
        """Where a numbered video's corners are in a picture, uint8 [height, width, 3], RGB: {"red": "top left", ...}"""
        height, width = picture.shape[:2]
        y, x = max(1, height // 40), max(1, width // 40)
        found: dict[str, str] = {}
        for row, rows in (("top", picture[y : 2 * y]), ("bottom", picture[-2 * y : -y])):
            for column, corner in (("left", rows[:, x : 2 * x]), ("right", rows[:, -2 * x : -x])):
                red, green, blue = (int(channel) for channel in corner.mean((0, 1)))
                if max(red, blue) - green > 100 and abs(red - blue) > 100:
                    found["red" if red > blue else "blue"] = f"{row} {column}"
        return found

    @staticmethod
    def ffprobe(path: Path | str, *options: str) -> dict[str, Any]:
        """What ffprobe says about the first real video stream and its container."""
        command = ["ffprobe", "-v", "quiet", "-of", "json", "-select_streams", "V:0", *options, f"file:{path}"]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def make(path: Path, arguments: str) -> None:
    """Run ffmpeg with `arguments`, as a shell splits them, to write `path`."""
    command = [ffmpeg_executable(), "-loglevel", "error", "-nostdin", "-y", *shlex.split(arguments), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{path.name}: {done.stderr}"


def _numbered(target: Path) -> None:
    import av

    random = np.random.default_rng(8)
    scenes = [_landscape(random, tint) for tint in ((1.0, 0.8, 0.6), (0.6, 0.8, 1.0))]
    noise = np.convolve(random.normal(size=12 * 48_000 + 15), np.hanning(16), "valid")
    with av.open(str(target), "w", options={"fflags": "+bitexact"}) as written:
        video = written.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast", "g": "25"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = written.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for number in range(NUMBERED_FRAMES):
            scene, shift = scenes[number >= NUMBERED_CUT], 2 * (number % NUMBERED_CUT)
            picture = scene[:, shift : shift + 320].copy()
            picture[:16, :16], picture[:16, -16:] = (255, 0, 0), (0, 0, 255)
            picture[220:] = 128
            for bit in range(_BLOCKS):
                picture[222:238, 8 + 24 * bit : 24 + 24 * bit] = 255 * (number >> bit & 1)
            written.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        loud = (6000 * noise / noise.std()).clip(-32768, 32767).astype("<i2")
        for at in range(0, len(loud), 1920):
            samples = av.AudioFrame.from_ndarray(loud[None, at : at + 1920], layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48_000, at, Fraction(1, 48_000)
            written.mux(sound.encode(samples))
        written.mux(video.encode())


def _landscape(random: np.random.Generator, tint: tuple[float, float, float]) -> np.ndarray:
    """Smooth noise to pan over: uint8 [240, 640, 3]."""
    import cv2

    coarse = random.uniform(40, 215, (12, 32)).astype(np.float32)
    smooth = cv2.resize(coarse, (640, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    return (smooth[..., None] * np.array(tint)).astype(np.uint8)

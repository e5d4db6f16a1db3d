"""High dynamic range as ordinary screens show it, held against light that is known and against zimg's conversion."""

import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.media.tone_mapping import HLG, PQ, dynamic_range, table

TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
LUMA = np.array([0.2627, 0.6780, 0.0593])
SIZE = (256, 128)
PATCHES = [
    (1, 1, 1),
    (1, 0.1, 0.1),
    (0.1, 1, 0.1),
    (0.2, 0.2, 1),
    (1, 1, 0.2),
    (0.8, 0.5, 0.3),
    (0.3, 0.5, 0.8),
    (0, 0, 0),
]
REFERENCE = (
    "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=mobius:desat=0:peak=4.926108,"
    "zscale=t=bt709:m=bt709:r=pc,format=gbrp,format=rgb24"
)


def light() -> np.ndarray:
    """Columns of 0.1 to 1000 nits, rows of colours within BT.709: float64 [height, width, 3] in BT.2020's primaries."""
    nits = 10 ** np.linspace(-1, 3, SIZE[0] // 16).repeat(16)
    rows = np.array(PATCHES).repeat(SIZE[1] // len(PATCHES), 0)
    return nits[None, :, None] * rows[:, None, :] @ TO_2020.T


def pq(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(nits: np.ndarray) -> np.ndarray:
    display = nits / 1000
    luma = np.maximum(display @ LUMA, 1e-9)[..., None]
    scene = display * luma ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def made(path: Path, codes: np.ndarray, transfer: str, matrix: str = "bt2020nc", primaries: str = "bt2020") -> Path:
    """Five frames of BT.2020 in ten bits."""
    luma = codes @ LUMA
    blue, red = (codes[..., 2] - luma) / 1.8814, (codes[..., 0] - luma) / 1.4746
    planes = [64 + 876 * luma, 512 + 896 * blue[::2, ::2], 512 + 896 * red[::2, ::2]]
    raw = b"".join(np.rint(plane).clip(0, 1023).astype("<u2").tobytes() for plane in planes)
    # Older versions of ffmpeg take what the encoder is told, newer ones what the frames say.
    tags = f"-color_primaries {primaries} -color_trc {transfer} -colorspace {matrix} -color_range tv"
    tags += f" -vf setparams=color_primaries={primaries}:color_trc={transfer}:colorspace={matrix}:range=tv"
    command = [ffmpeg_executable(), *"-loglevel error -y -f rawvideo -pix_fmt yuv420p10le".split()]
    command += f"-s {SIZE[0]}x{SIZE[1]} -r 25 -i - -c:v libx264 -qp 0 -preset ultrafast {tags}".split()
    subprocess.run([*command, str(path)], input=raw * 5, check=True)
    return path


def pictures(path: Path, pixels: str = "rgb24") -> tuple[np.ndarray, Any]:
    """The first frame as it is stored, uint8 [height, width, 3], and as an encoder gets it."""
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        frame = next(opened.decode(stream))
        return Scaler(lambda *size: size, pixels, stream)(frame), Scaler(
            lambda *size: size, "yuv420p", stream, even=True
        ).frame(frame)


def centres(picture: np.ndarray) -> np.ndarray:
    """The middle of every patch, which the chroma of its neighbours does not reach: [8, 16, 3]."""
    return picture[8::16, 8::16].astype(int)


@pytest.mark.parametrize(("transfer", "coded"), [("smpte2084", pq), ("arib-std-b67", hlg)])
def test_light_is_shown_by_a_known_curve(tmp_path: Path, transfer: str, coded: Any) -> None:
    nits = light()
    shown, encoded = pictures(made(tmp_path / "hdr.mp4", coded(nits), transfer))
    # Dimmed by the brightest channel, in BT.709, for a display with a gamma of 2.4.
    linear = np.maximum(nits @ np.linalg.inv(TO_2020).T, 0) / 203
    brightest = linear.max(2, keepdims=True)
    peak, knee = 1000 / 203, 0.3
    a, b = -(knee**2) * (peak - 1) / (knee**2 - 2 * knee + peak), (knee**2 - 2 * knee * peak + peak) / (peak - 1)
    dimmed = np.where(brightest <= knee, brightest, (b + knee) ** 2 / (b - a) * (brightest + a) / (brightest + b))
    expected = 255 * (linear / np.maximum(brightest, 1e-9) * dimmed).clip(0, 1) ** (1 / 2.4)
    off = np.abs(centres(shown) - centres(expected))
    assert off.max() <= 10 and off.mean() < 1  # ten bits are few for deep colours
    gray = centres(shown)[0, :, 0]
    assert gray[0] < 15 and gray[-1] > 250 and (np.diff(gray) > 0).all()
    # What an encoder gets is the same picture, and says so.
    assert (encoded.color_trc, encoded.color_primaries, encoded.colorspace, encoded.color_range) == (1, 1, 1, 1)
    assert np.abs(centres(encoded.to_ndarray(format="rgb24", src_colorspace="ITU709")) - centres(shown)).max() <= 6


def test_pq_is_shown_as_zimg_and_tonemap_show_it(media: Any, tmp_path: Path) -> None:
    filters = subprocess.run([ffmpeg_executable(), "-filters"], capture_output=True, text=True).stdout
    if " zscale " not in filters:
        pytest.skip("this ffmpeg has no zscale")
    path = made(tmp_path / "pq.mp4", pq(light()), "smpte2084")
    shown, _ = pictures(path)
    assert np.abs(centres(shown) - centres(media.frames(path, "rgb24", SIZE, "-vf", REFERENCE)[0])).max() <= 6


def test_what_is_not_said_of_hdr_is_taken_for_bt2020(tmp_path: Path) -> None:
    said, _ = pictures(made(tmp_path / "said.mp4", pq(light()), "smpte2084"))
    unsaid, _ = pictures(made(tmp_path / "unsaid.mp4", pq(light()), "smpte2084", "unknown", "unknown"))
    assert (said == unsaid).all()


def test_wide_gamut_of_ordinary_range_keeps_its_colours(tmp_path: Path) -> None:
    linear = light() / 1000
    shown, _ = pictures(made(tmp_path / "wide.mp4", linear ** (1 / 2.4), "bt709"))
    expected = 255 * np.maximum(linear @ np.linalg.inv(TO_2020).T, 0) ** (1 / 2.4)
    assert np.abs(centres(shown) - centres(expected)).max() <= 6


def test_ordinary_video_is_left_alone(media: Any) -> None:
    with av.open(str(media("ten_bit.mp4"))) as opened:
        frame = next(opened.decode(video=0))
        assert dynamic_range(frame) == "sdr"


def test_a_table_is_neutral_and_rises() -> None:
    for transfer in (PQ, HLG):
        gray = np.array([table(transfer, 9).reshape(64, 64, 64, 3)[step, step, step] for step in range(64)], int)
        assert np.ptp(gray, axis=1).max() < 120  # of 65535: the primaries are rounded
        assert (np.diff(gray[:, 0]) >= 0).all() and gray[0, 0] < 100 and gray[-1, 0] == 65535

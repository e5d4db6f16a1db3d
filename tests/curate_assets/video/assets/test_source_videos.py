"""What `curate add` takes is read."""

import pytest

from curate_assets.video.video_files import SUFFIXES, VIDEO_FILES
from gpu_kernels.media.segments import SEGMENT_FRAMES
from gpu_kernels.sandbox.messages import raw

_H264, _H265, _MPEG2 = "-c:v libx264", "-c:v libx265 -x265-params log-level=error", "-c:v mpeg2video"
_ENCODED = {
    **dict.fromkeys(".mp4 .m4v .mov .mkv .avi .ts .mts .m2ts .flv".split(), _H264),
    **dict.fromkeys((".264", ".h264"), f"{_H264} -f h264"),
    **dict.fromkeys((".265", ".h265", ".hevc"), f"{_H265} -f hevc"),
    **dict.fromkeys((".mpg", ".mpeg", ".vob", ".wtv", ".mxf"), _MPEG2),
    ".mpe": f"{_MPEG2} -f mpeg",
    ".m2v": f"{_MPEG2} -f mpeg2video",
    ".f4v": f"{_H264} -f f4v",
    ".3gp": _H264,
    ".3g2": _H264,
    ".webm": "-c:v libvpx",
    ".ivf": "-c:v libvpx",
    ".wmv": "-c:v wmv2",
    ".asf": "-c:v wmv2",
    ".ogv": "-c:v libtheora",
    ".ogg": "-c:v libtheora",
    ".y4m": "",
    ".nut": "-c:v ffv1",
    ".dv": "-vf scale=720:480,setsar=8/9 -r 30000/1001 -pix_fmt yuv411p -c:v dvvideo",
    ".rm": "-c:v rv20",
    ".rmvb": "-c:v rv20 -f rm",
    ".gif": "-c:v gif -pix_fmt rgb8",
}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_read(suffix, media, nursery, tmp_path):
    path = media.made(
        tmp_path / f"v{suffix}", f"-f lavfi -i testsrc2=s=176x144:r=25:d=0.4 -pix_fmt yuv420p {_ENCODED[suffix]}"
    )
    probe = "gpu_kernels.media.containers:probe"
    header, _ = nursery.ask(probe, raw, [str(path)], path=str(path), segment_frames=SEGMENT_FRAMES)
    assert header["frames"] >= 9


def test_what_is_not_read_is_not_taken():
    assert not any(map(VIDEO_FILES.takes, ("a.mjpeg", "a.MJPG", "a.webp", "a.apng", "a.m3u8", "mp4", ".mp4")))

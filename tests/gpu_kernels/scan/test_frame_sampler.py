"""Samples of a scan: where every frame is shown twice, the camera's motion is measured to the next picture."""

from typing import Any

from gpu_kernels.sandbox import Nursery
from gpu_kernels.scan.frame_sampler import FrameSignalsConfig
from gpu_kernels.scan.scan import ScanChunk, read_scan


def test_repeated_frames_are_passed_over(nursery: Nursery, media: Any, tmp_path: Any) -> None:
    twice = "-f lavfi -i testsrc2=s=320x180:r=12.5 -vf fps=25 -frames:v 50 -c:v libx264 -qp 0 -preset ultrafast"
    path = media.made(tmp_path / "a.mp4", f"{twice} -pix_fmt yuv420p")
    chunks = read_scan(nursery, str(path), None, (), frame_signals=FrameSignalsConfig(samples_per_second=5))
    samples = [each for chunk in chunks if isinstance(chunk, ScanChunk) for each in chunk.samples]
    assert [each.frame for each in samples] == [*range(0, 50, 5)]
    assert all(each.other % 2 == 0 and each.other - each.frame == 2 - each.frame % 2 for each in samples)
    assert all(each.step_ns == (each.other - each.frame) * 40_000_000 for each in samples)
    assert all(0 < each.quality.blur < 1 for each in samples)

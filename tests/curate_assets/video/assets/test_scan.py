"""A long video is scanned in segments by several workers: the rows and the files are those of one scan."""

import random
from pathlib import Path
from typing import Any

import pytest

from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.variants import with_variants
from curate_assets.video.assets import source_videos, storyboards
from curate_assets.video.assets.source_videos import PROBE
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.stage import Work
from curate_resources.engines.in_process import StageRunner
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import MANIFEST
from gpu_kernels.media import segments
from gpu_kernels.media.segments import SEGMENT_FRAMES
from gpu_kernels.scan.scan import CHUNK_FRAMES

_SEGMENT = 500
_GRAPH = with_variants(VIDEO, GraphChoice(variants={"storyboards": ["fine"]}))
(_SCAN,) = (stage for stage in _GRAPH.stages if stage.name == "scan")
_NO_NETWORK = {"shot_signals": {"network": "none"}, "clips": {"splitter": "fixed_stride"}}
_CUTS = (
    "-f lavfi -i testsrc2=s=96x64:r=25:d=19.5 -f lavfi -i mandelbrot=s=96x64:r=25:start_scale=1.5,trim=duration=14 "
    "-f lavfi -i testsrc=s=96x64:r=25:d=19.2 -filter_complex 'concat=n=3:v=1'"
)
_X264 = "-c:v libx264 -preset fast -pix_fmt yuv420p -x264-params keyint=70:min-keyint=70:scenecut=0"
_WINDOW = (
    "-f lavfi -i gradients=s=96x64:r=25:d=53:c0=0x204080:c1=0x90b0d0:speed=0.00001 "
    "-f lavfi -i mandelbrot=s=60x40:r=25:start_scale=1.5 -filter_complex '[0][1]overlay=12:8:shortest=1'"
)
RECIPES = {
    "window.mp4": f"{_WINDOW} {_X264}",
    "closed.mp4": f"{_CUTS} {_X264}",
    "open.mkv": f"{_CUTS} {_X264}:open-gop=1:bframes=3:b-pyramid=normal",
    "all_intra.mp4": f"{_CUTS} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 1",
    "late.ts": f"{_CUTS} {_X264}:open-gop=1 -output_ts_offset 100",
    "vp9.webm": f"{_CUTS} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 70",
    "uneven.mp4": f"{_CUTS} -vf setpts='(N+0.4*mod(N\\,3))/25/TB' -fps_mode passthrough -enc_time_base 1:90000 "
    f"-video_track_timescale 90000 {_X264}".replace(
        "-filter_complex 'concat=n=3:v=1' -vf ", "-filter_complex concat=n=3:v=1,"
    ),
}


class Scans:
    """Scans of one file, whole and in segments."""

    def __init__(self, path: Path, root: Path, config: Any) -> None:
        tables = {MANIFEST.name: MANIFEST, **_GRAPH.tables}
        wanted = frozenset(table.name for stage in (PROBE, _SCAN) for table in stage.writes)
        self.plan = Plan((PROBE, _SCAN), wanted, tables, config, str(root), source_videos.UNITS)
        self.runner = StageRunner(self.plan)
        row = {"uri": str(path), "bytes": path.stat().st_size, "version": "1", "status": "ok", "fingerprint": ""}
        self.rows = {MANIFEST.name: MANIFEST.rows_schema.empty_table().from_pylist([row], schema=MANIFEST.rows_schema)}
        self.root = root

    def result(self, divided: bool, whole_again: bool = False) -> tuple[Any, dict[str, bytes]]:
        """Rows by table, and the files of the storyboard."""
        unit = Unit("s", "v", dict(self.rows))
        self.runner.run(0, unit, 1)
        if divided:
            computation = self.runner.computation(1, unit)
            parts = computation.parts()
            assert len(parts) == 3
            worker = self.runner.worker(1)
            fresh = [(part, computation.compute(worker, part)) for part in random.Random(4).sample(parts, 3)]
            computation.finish(fresh, worker if whole_again else self._not_again)
        else:
            self.runner.run(1, unit, 2)
        files = {str(path): path.read_bytes() for path in sorted(self.root.rglob("*.jpgs"))}
        for path in files:
            Path(path).unlink()
        return {table.name: unit.rows[table.name].to_pylist() for table in _SCAN.writes}, files

    @staticmethod
    def _not_again(work: Work) -> Any:
        raise AssertionError("the segments do not make the whole")


@pytest.fixture
def scans(tmp_path, media, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", _SEGMENT)
    monkeypatch.setattr(source_videos, "SEGMENT_FRAMES", _SEGMENT)
    assert SEGMENT_FRAMES % storyboards.PACK_FRAMES == storyboards.PACK_FRAMES % CHUNK_FRAMES == 0
    monkeypatch.setattr(storyboards, "PACK_FRAMES", _SEGMENT)

    def of(path: Path, **config: Any) -> Scans:
        fine = {"storyboards_fine": {"frames_per_second": 5, "short_side": 32}}
        settings = _GRAPH.config_model("Settings", __name__).model_validate(config | fine)
        return Scans(path, tmp_path / "root", settings)

    return of


@pytest.mark.parametrize("name", RECIPES)
def test_segments_make_the_rows_and_files_of_one_scan(name, scans, media, tmp_path):
    network = {} if name == "open.mkv" else _NO_NETWORK
    scan = scans(media.made(tmp_path / name, RECIPES[name]), **network)
    rows, files = scan.result(divided=False)
    assert len(rows["shot_signals"][0]["pts_ns"]) > 2.6 * _SEGMENT and len(files) == 6
    (boundaries,) = rows["boundary_signals"]
    assert network or (boundaries["frames"] == len(rows["shot_signals"][0]["pts_ns"]) and boundaries["frame"])
    assert len(rows["frame_signals"][0]["change"]) == len(rows["shot_signals"][0]["pts_ns"])
    (hashes,) = rows["picture_hashes"]
    assert len(hashes["frame_digests"]) == 8 * len(rows["shot_signals"][0]["pts_ns"])
    assert len(hashes["frames"]) > 2.6 * _SEGMENT / 25 * 10 and len(hashes["hashes"]) == 96 * len(hashes["frames"])
    assert hashes["window_frames"] or name != "window.mp4"
    assert rows["motion_signals"][0]["patches"] and rows["shot_signals"][0]["status"] == "ok"
    assert scan.result(divided=True) == (rows, files)


def test_what_is_damaged_is_scanned_whole(scans, media, tmp_path, caplog):
    path = media.made(tmp_path / "damaged.mp4", RECIPES["closed.mp4"])
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 3, len(data) // 2, 997):
        data[place] ^= 0x5A
    path.write_bytes(data)
    scan = scans(path, **_NO_NETWORK)
    rows, files = scan.result(divided=False)
    (shots,) = rows["shot_signals"]
    assert shots["decode_errors"] or shots["damaged_frames"]
    with caplog.at_level("INFO"):
        assert scan.result(divided=True, whole_again=True) == (rows, files)
    assert "is computed whole" in caplog.text


def test_a_video_that_is_not_long_is_not_divided(scans):
    assert segments.segment_count(700, [1]) == 1
    assert segments.segment_count(800, [1]) == 2
    assert segments.segment_count(1260, [1, 2]) == 3
    assert segments.segment_count(5000, []) == 1

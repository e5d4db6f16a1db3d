"""Dagster's UI as a person uses it: Chromium clicks in it, while a web server and a daemon of Dagster's own run.

With `PICTURES=docs/images` in the environment the pictures of the docs are made anew on the way:

    PICTURES=docs/images python -m pytest tests/curate_assets/test_dagster_ui.py
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Error, Locator, Page, expect, sync_playwright

from curate_assets.graphs import GRAPH
from curate_assets.orchestration.runs import dagster_instance, register_shards, run_assets
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE = 120_000
"""Milliseconds that an element may take to appear: enough for a machine that does much else."""
PICTURES = os.environ.get("PICTURES")

SETTINGS = """
clips: {splitter: fixed_stride, stride_seconds: 1.5, min_seconds: 0.6, min_frames: 15}
shot_signals: {network: none}
engine: {kind: in_process}
checks: {min_rows: 1}
"""
MEASURED = "source_videos shot_signals motion_signals storyboards clips motion_scores clip_selection".split()
DONE, MISSING, BROKEN = "day-1-000000", "day-2-000000", "tapes-000000"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
    pytest.mark.xdist_group("studio"),  # one root, one web server and one daemon for all of them
]


@dataclass(frozen=True)
class Studio:
    """A root with three shards, and the web server and daemon that show it."""

    root: Path
    dagster: Any
    run: str
    """The run that `curate materialize` would have made."""

    def rows(self, asset: str, shard: str) -> int:
        return Tables(Storage(str(self.root))).dataset(asset).count_rows(f"shard = '{shard}'")

    def backfill(self) -> str:
        """The id of the last backfill, once it has ended well."""
        query = "{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id status } } } }"
        deadline, found = time.monotonic() + 3 * PATIENCE / 1000, []
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                found = self.dagster.ask(query)["partitionBackfillsOrError"]["results"]
            if found and found[0]["status"] == "COMPLETED_SUCCESS":
                return found[0]["id"]
            assert not found or found[0]["status"] == "REQUESTED", found
            time.sleep(0.5)
        raise AssertionError(f"no backfill has ended: {found}")


@pytest.fixture(scope="module")
def studio(tmp_path_factory, footage, encode, dagster_processes) -> Iterator[Studio]:
    """One shard is materialized, one is not, and of the third two of three files are no videos, which a check stops."""
    # The docs' pictures show paths: theirs is of no machine.
    folder = Path("/tmp/studio") if PICTURES else tmp_path_factory.mktemp("studio")
    shutil.rmtree(folder, ignore_errors=True)
    videos, root = folder / "videos", folder / "curated"
    for name in ("day-1", "day-2", "tapes"):
        (videos / name).mkdir(parents=True)
    small = ("-vf", "scale=320:-2", "-c:v", "libx264", "-preset", "ultrafast")
    encode(footage("bikes.mp4"), videos / "day-1" / "bikes.mp4", *small)
    encode(footage("bigbuckbunny.mp4"), videos / "day-2" / "bunny.mp4", "-t", "3", *small)
    encode(footage("carphone_pristine.mp4"), videos / "tapes" / "tape_01.mp4", "-frames:v", "50", *small)
    (videos / "tapes" / "tape_02.mp4").write_bytes((videos / "day-2" / "bunny.mp4").read_bytes()[:20_000])
    (videos / "tapes" / "tape_03.mp4").write_text("This is no video.\n")
    storage = Storage(str(root))
    storage.write("curate.yaml", SETTINGS.encode())
    for each in sorted(videos.iterdir()):
        add_units(Manifests(storage), str(each), each.name, 100, 1 << 30, VIDEO_FILES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(root / "dagster"))
        with dagster_instance(str(root)) as instance:
            register_shards(instance, Manifests(storage).shards())
            (outcome,) = run_assets(instance, frozenset({*MEASURED, "dataset_report"}), [DONE], {"root": str(root)})
            assert outcome.error is None
            (failed,) = run_assets(instance, frozenset({"source_videos"}), [BROKEN], {"root": str(root)})
            assert failed.failed_checks == ("source_videos: failures_few",)
    with dagster_processes(root / "dagster", str(root)) as dagster:
        dagster.start()
        yield Studio(root, dagster, outcome.run_id)
    if PICTURES:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture
def page(studio: Studio, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page. Of a test that fails, what it showed last is in `page.png` among the test's files."""
    expect.set_options(timeout=PATIENCE)
    page = browser.new_page(base_url=studio.dagster.url, viewport={"width": 1600, "height": 900})
    page.set_default_timeout(PATIENCE)
    failed = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed:
        with suppress(Error):  # of a page that hangs: the test's own failure says more
            page.screenshot(path=tmp_path / "page.png")
            print(f"what the browser showed: {tmp_path / 'page.png'}")
    page.close()


def picture(page: Page, name: str) -> None:
    """A picture for the docs, when they are to be made anew."""
    if PICTURES:
        page.mouse.move(0, 0)  # else what is below the mouse is highlighted
        page.wait_for_timeout(10_000)  # what comes late, and animations
        shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
        shot.quantize(256).save(Path(PICTURES) / f"{name}.png", optimize=True)


def shown(page: Page, text: str) -> Locator:
    """What can be seen of a text; the UI has hidden copies to measure texts by."""
    return page.get_by_text(text, exact=True).filter(visible=True).first


def metadata(page: Page, name: str) -> Locator:
    """The row of a table of metadata that begins with a name."""
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True)).first


def loaded_picture(page: Page, alt: str) -> tuple[int, int]:
    """Width and height of a picture that the browser has really got."""
    image = page.get_by_role("dialog").get_by_role("img", name=alt)
    expect(image).to_be_visible()
    width, height = image.evaluate(
        "async image => { await image.decode(); return [image.naturalWidth, image.naturalHeight] }"
    )
    return width, height


def test_the_lineage_shows_all_assets_in_the_groups_of_their_phases(studio: Studio, page: Page):
    page.goto("/asset-groups")
    for group in ("sources", "signals", "measurements", "clips", "duplicates", "delivery"):
        expect(shown(page, group)).to_be_visible()
    for group in {asset.group for asset in GRAPH.assets}:  # all at once, they are too many to be drawn with their names
        page.goto(f'/asset-groups~group:"{group}"')
        for asset in GRAPH.assets:
            if asset.group == group:
                expect(shown(page, asset.name)).to_be_visible()
    page.goto('/asset-groups~group:"signals"')  # few enough to be drawn with their partitions
    expect(shown(page, "33% filled")).to_be_visible()
    picture(page, "lineage_signals")


@pytest.mark.deep
def test_a_run_of_the_command_shows_what_it_made_and_is_repeated_by_clicking(studio: Studio, page: Page):
    page.goto("/runs")
    expect(shown(page, "clip_selection")).to_be_visible()
    expect(page.get_by_text("__ephemeral_asset_job__")).to_have_count(0)
    page.goto(f"/runs/{studio.run}")
    expect(shown(page, f"{len(MEASURED) + 1} assets")).to_be_visible()
    expect(page.get_by_text(f"partition: {DONE}").filter(visible=True).first).to_be_visible()
    page.get_by_role("button", name="Re-execute all").click()
    page.wait_for_url(lambda url: "/runs/" in url and studio.run not in url)
    expect(shown(page, "Success")).to_be_visible()


def test_a_backfill_is_started_by_clicking_and_makes_its_partition(studio: Studio, page: Page):
    page.goto('/asset-groups~group:"sources" or group:"signals"')
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Select a partition or create one").click()
    for shard in (DONE, MISSING):
        shown(page, shard).click()
    page.keyboard.press("Escape")
    expect(dialog.get_by_text("2 partitions", exact=True)).to_be_visible()
    picture(page, "backfill")
    dialog.get_by_role("button", name="Launch backfill").click()
    expect(dialog).to_have_count(0)
    page.goto(f"/runs/b/{studio.backfill()}")
    expect(shown(page, "storyboards")).to_be_visible()
    for asset in ("source_videos", "storyboards"):
        page.goto(f"/assets/{asset}?view=partitions&partition={MISSING}")
        expect(shown(page, "Materialized")).to_be_visible()
        rows = metadata(page, "dagster/partition_row_count").get_by_role("cell").nth(1).inner_text()
        assert int(rows) == studio.rows(asset, MISSING) > 0


def test_a_partitions_page_shows_its_pictures_and_plots_its_numbers(studio: Studio, page: Page):
    page.goto("/assets/storyboards?view=partitions")
    shown(page, DONE).click()
    metadata(page, "preview").get_by_text("[Show Markdown]").click()
    assert loaded_picture(page, f"storyboards of {DONE}") > (900, 200)
    picture(page, "partition")
    page.goto(f"/assets/clip_selection?view=partitions&partition={DONE}")
    metadata(page, "preview").get_by_text("[Show Markdown]").click()
    assert loaded_picture(page, "Funnel") > (600, 150)
    picture(page, "funnel")
    page.goto("/assets/motion_signals")
    page.get_by_role("button", name="Plots").click()
    # A run that reuses all it finds, as a test before this one may have left, has no throughput to plot.
    for name in ("seconds", "computed", "reused"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()


def test_a_failed_check_leads_to_the_rows_that_failed(studio: Studio, page: Page):
    page.goto("/assets/source_videos")
    page.get_by_role("tab", name="Checks").click()
    shown(page, "failures_few").click()
    # Those of the check: its overview shows the shard that was judged last, whichever that is.
    page.get_by_role("tab", name="Partitions").last.click()
    expect(shown(page, "Failed (1)")).to_be_visible()
    page.get_by_text(BROKEN, exact=True).filter(visible=True).last.click()
    rows = metadata(page, "rows")
    for name in ("tape_02.mp4", "tape_03.mp4"):
        failed = rows.get_by_role("row").filter(has_text=re.compile(rf"videos/tapes/{name}"))
        expect(failed).to_contain_text("not a readable video")
    expect(rows.get_by_text("tape_01.mp4")).to_have_count(0)
    expect(metadata(page, "command")).to_contain_text(f"curate query --root {studio.root} ")
    page.set_viewport_size({"width": 1600, "height": 1000})  # room for all rows
    picture(page, "check")

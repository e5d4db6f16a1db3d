"""Whether a hundred thousand shards stay usable: what commands, sensors, the daemon and the UI take with so many.

    python benchmarks/shards.py build/shards [--shards 100000] [--videos 3] [--again STEP,STEP]

Makes a root with that many shards (benchmarks/many_shards.py) and a Dagster instance with as many partitions, in each
of which some assets are materialized, and measures one step after the other, each in a process of its own. What was
made and measured before is not made and measured again, so it goes on where it was interrupted. Prints Markdown.
"""

# pyright: basic

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from floors import write_figures
from many_shards import make_root, shard_name
from meter import measure

NEW_KEYS = 1000
MATERIALIZED = ("source_videos", "clips", "clip_selection")
"""These have an event for every other partition."""

STEPS = {
    "register all partitions": "register",
    "register a thousand more": "register_more",
    "upkeep": "upkeep",
    "`curate add` of one more folder": ["add", "{folder}/more", "--name", "more"],
    "`curate status`": ["status", "--json"],
    "`curate plan`": ["plan", "--json"],
    "`curate plan` of one shard": ["plan", "--shard", shard_name(7), "--json"],
    "`curate plan`, another threshold": ["plan", "--config", "{folder}/threshold.yaml", "--json"],
    "shards with failed rows (`curate retry-failed`)": "failed",
    "`curate materialize` of one shard that is done": [
        "materialize", "--select", "clip_selection", "--shard", shard_name(7), "--json",
    ],
    "sensor's tick, nothing new": "tick",
    "sensor's tick, a thousand new shards": "tick_new",
    "audit": "audit",
    "materialization events": "events",
    "automation conditions, first tick": "conditions",
    "automation conditions, nothing new": "conditions",
    "automation conditions, a thousand new shards": "conditions_new",
    "UI: the asset's page and its partitions, first time": "pages",
    "UI: the same again": "pages",
    "UI in Chromium: lineage, an asset's partitions, one of them": "browser",
}  # fmt: skip


def main() -> None:
    """Make what is missing, measure what was not measured, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--videos", type=int, default=3)
    parser.add_argument("--again", default="", help="steps to measure again, by a part of their names")
    parser.add_argument("--step", help="run one step in this process")
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.step:
        os.environ["DAGSTER_HOME"] = str(folder / "dagster")
        _BY_NAME[options.step](folder, options.shards)
        return
    _prepare(folder, options.shards, options.videos)
    results = folder / "results.json"
    known: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    again = [part for part in options.again.split(",") if part]
    for name, step in STEPS.items():
        if name in known and not any(part in name for part in again):
            continue
        command = [sys.executable, __file__, str(folder), "--shards", str(options.shards), "--step", str(step)]
        if not isinstance(step, str):
            root = ["--root", str(folder / "root")]
            command = [sys.executable, "-m", "curate_cli.main", *(each.format(folder=folder) for each in step), *root]
        environment = {**os.environ, "DAGSTER_HOME": str(folder / "dagster")}
        known[name] = asdict(measure(command, folder / "last.log", environment=environment, timeout=7200))
        known[name]["said"] = (folder / "last.log").read_text()[-500:]
        results.write_text(json.dumps(known, indent=1))
        print(f"{name}: {known[name]['wall_s']} s", file=sys.stderr, flush=True)
    print("| step | wall s | CPU-s | peak MiB | other work, CPU-s |\n|---|---:|---:|---:|---:|")
    for name in STEPS:
        each = known[name]
        failed = "" if each["exit_code"] == 0 else f" (exit code {each['exit_code']})"
        print(f"| {name}{failed} | {each['wall_s']} | {each['cpu_s']} | {each['peak_mib']} | {each['other_cpu_s']} |")
    figures = {
        "steps_failed": sum(known[name]["exit_code"] != 0 for name in STEPS),
        "plan_per_status": known["`curate plan`"]["cpu_s"] / known["`curate status`"]["cpu_s"],
    }
    write_figures(options.json, __file__, figures)


def _prepare(folder: Path, shards: int, videos: int) -> None:
    if not (folder / "root").exists():
        shutil.rmtree(folder / "root.new", ignore_errors=True)
        make_root(str(folder / "root.new"), shards, videos)
        (folder / "root.new").rename(folder / "root")
    (folder / "threshold.yaml").write_text("clip_selection: {motion_global_mean_min: 0.5}\n")
    for name, files in (("more", 3), ("watched", 0)):
        (folder / name).mkdir(exist_ok=True)
        for number in range(files):
            (folder / name / f"{number}.mp4").write_bytes(b"0")


# -------------------------------------------------------------------- steps in a process of their own


def _instance() -> Any:
    from curate_assets.orchestration.runs import dagster_instance

    return dagster_instance(os.environ["DAGSTER_HOME"])


def _register(folder: Path, shards: int) -> None:
    from curate_assets.orchestration.runs import register_shards

    with _instance() as instance:
        register_shards(instance, [shard_name(number) for number in range(shards)])


def _register_more(folder: Path, shards: int) -> None:
    from curate_assets.orchestration.runs import register_shards

    with _instance() as instance:
        register_shards(instance, [shard_name(number) for number in range(shards + NEW_KEYS)])


def _failed(folder: Path, shards: int) -> None:
    from curate_assets.operations.status import failed_shards
    from curate_assets.orchestration.asset_selection import selected
    from curate_resources.storage.root import Storage

    print(len(failed_shards(Storage(str(folder / "root")), selected("*"))))


def _tick(folder: Path, shards: int) -> None:
    import dagster as dg

    from curate_assets.definitions import defs
    from curate_assets.orchestration.sensors import source_sensor
    from curate_assets.video.graph import VIDEO
    from curate_resources.sources.declared import Source
    from curate_resources.storage.root import Storage

    source = Source(uri=str(folder / "watched"), units_per_shard=1, settle_seconds=0, close_after_seconds=0)
    watch = source_sensor(VIDEO.units, Storage(str(folder / "root")), "watched", source, ["clips"], True)
    with _instance() as instance:
        context = dg.build_sensor_context(instance=instance, definitions=defs)
        print(watch.evaluate_tick(context).skip_message)


def _tick_new(folder: Path, shards: int) -> None:
    for number in range(NEW_KEYS):
        (folder / "watched" / f"{number:06d}.mp4").write_bytes(b"0")
    _tick(folder, shards)


def _audit(folder: Path, shards: int) -> None:
    from curate_assets.video.video_files import VIDEO_FILES
    from curate_resources.sources.audit import audit
    from curate_resources.sources.declared import Source
    from curate_resources.sources.discovery import Discovery
    from curate_resources.storage.root import Storage

    source = Source(uri=str(folder / "watched"))
    print(audit(Discovery(Storage(str(folder / "root")), "takes", source, VIDEO_FILES)))


def _upkeep(folder: Path, shards: int) -> None:
    from curate_assets.video.graph import VIDEO
    from curate_resources.storage.root import Storage
    from curate_resources.tables.upkeep import keep_up

    print(keep_up(Storage(str(folder / "root")), VIDEO.tables, 3600))


def _events(folder: Path, shards: int) -> None:
    """One event of each asset through Dagster, and copies of it for other partitions in its database: each by itself
    takes some ten milliseconds."""
    import sqlite3

    import dagster as dg

    with _instance() as instance:
        for name in MATERIALIZED:
            instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=shard_name(0)))
    with sqlite3.connect(folder / "dagster" / "history" / "runs" / "index.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(event_logs)") if row[1] != "id"]
        for name in MATERIALIZED:
            key = json.dumps([name])
            model = dict(
                zip(
                    columns,
                    database.execute(
                        f"SELECT {', '.join(columns)} FROM event_logs WHERE asset_key = ? AND partition = ? "
                        "AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY id DESC LIMIT 1",
                        (key, shard_name(0)),
                    ).fetchone(),
                    strict=True,
                )
            )
            rows = (
                [
                    value.replace(shard_name(0), shard_name(number)) if isinstance(value, str) else value
                    for value in model.values()
                ]
                for number in range(2, shards, 2)
            )
            places = ", ".join("?" * len(columns))
            database.executemany(f"INSERT INTO event_logs ({', '.join(columns)}) VALUES ({places})", rows)


def _conditions(folder: Path, shards: int) -> None:
    """A tick of `make_new_shards`, without the requests that it would make."""
    import dagster as dg
    from dagster._serdes import deserialize_value, serialize_value

    from curate_assets.orchestration.asset_graph import defs

    place = folder / "conditions.json"
    before = deserialize_value(place.read_text()) if place.exists() else None
    with _instance() as instance:
        found = dg.evaluate_automation_conditions(defs, instance, cursor=before)  # pyright: ignore[reportArgumentType]
    place.write_text(serialize_value(found.cursor))
    print(found.total_requested)


def _conditions_new(folder: Path, shards: int) -> None:
    from curate_assets.orchestration.runs import register_shards

    with _instance() as instance:
        register_shards(instance, [f"new-{number:06d}" for number in range(NEW_KEYS)])
    _conditions(folder, shards)


_QUERIES = {
    "asset": "query($key: AssetKeyInput!) {assetNodeOrError(assetKey: $key) {... on AssetNode {id description "
    "partitionStats {numMaterialized numPartitions numFailed numMaterializing}}}}",
    "keys": "query($key: AssetKeyInput!) {assetNodeOrError(assetKey: $key) {... on AssetNode {id "
    "partitionKeysByDimension {name type partitionKeys}}}}",
    "statuses": "query($key: AssetKeyInput!) {assetNodeOrError(assetKey: $key) {... on AssetNode {id "
    "assetPartitionStatuses {... on DefaultPartitionStatuses {materializedPartitions failedPartitions "
    "materializingPartitions unmaterializedPartitions}}}}}",
}
"""What the UI asks for on an asset's page and on its partitions'."""


def _pages(folder: Path, shards: int) -> None:
    with _webserver() as port:
        for name, query in _QUERIES.items():
            started = time.monotonic()
            answer = _asked(port, query, {"key": {"path": ["clips"]}})
            if b"errors" in answer[:200]:
                raise SystemExit(answer[:2000])
            print(f"{name}: {time.monotonic() - started:.2f} s, {len(answer) >> 10} KiB")


def _browser(folder: Path, shards: int) -> None:
    """How long Chromium takes until it shows what a page is about."""
    from playwright.sync_api import sync_playwright

    last = shard_name(shards - 2)
    pages = {
        "lineage": ("/asset-groups", "clips"),
        "partitions": ("/assets/clips?view=partitions", shard_name(0)),
        "one partition": (f"/assets/clips?view=partitions&partition={last}", last),
    }
    with _webserver() as port, sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(base_url=f"http://127.0.0.1:{port}", viewport={"width": 1600, "height": 900})
        for name, (path, text) in pages.items():
            started = time.monotonic()
            page.goto(path, timeout=600_000)
            page.get_by_text(text, exact=True).filter(visible=True).first.wait_for(timeout=600_000)
            print(f"{name}: {time.monotonic() - started:.1f} s")
            page.screenshot(path=folder / f"{name.replace(' ', '_')}.png")
        browser.close()


@contextmanager
def _webserver() -> Iterator[int]:
    """Dagster's web server on a free port, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen([*command, "-m", "curate_assets.definitions"])
    try:
        started = time.monotonic()
        while not _answers(port):
            if server.poll() is not None or time.monotonic() - started > 600:
                raise SystemExit("the webserver did not start")
            time.sleep(0.5)
        print(f"\nready: {time.monotonic() - started:.1f} s")
        yield port
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    try:
        return b"version" in _asked(port, "{version}", {})
    except OSError:
        return False


def _asked(port: int, query: str, variables: dict[str, Any]) -> bytes:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=1200) as response:
        return response.read()


_BY_NAME: dict[str, Callable[[Path, int], None]] = {
    "register": _register,
    "register_more": _register_more,
    "failed": _failed,
    "tick": _tick,
    "tick_new": _tick_new,
    "audit": _audit,
    "upkeep": _upkeep,
    "events": _events,
    "conditions": _conditions,
    "conditions_new": _conditions_new,
    "pages": _pages,
    "browser": _browser,
}


if __name__ == "__main__":
    main()

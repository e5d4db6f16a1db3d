"""Ours on the same footage: `curate add` and `curate materialize` in a fresh root, up to the report."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def config(engine: str, every_clip: bool) -> dict[str, Any]:
    """The peers' way of splitting; with `every_clip` nothing is sorted out, so that as many files are cut as theirs."""
    settings: dict[str, Any] = {
        "engine": {"kind": engine},
        "clips": {"transition_threshold": 0.4, "max_seconds": 10.0, "min_frames": 1},
    }
    if every_clip:
        settings["clip_selection"] = {"motion_peak_min": None}
        settings["duplicate_groups"] = {"tiers": []}
        settings["checks"] = {"max_duplicate_share": 1.0}  # made footage may repeat itself
    return settings


def clips(root: Path) -> int:
    """How many clips a run has found."""
    from curate_assets.video.assets.clips import CLIPS
    from curate_resources.storage.root import Storage
    from curate_resources.tables.lance_tables import Tables

    return Tables(Storage(str(root))).read(CLIPS)["status"].to_pylist().count("ok")


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("output", type=Path, help="the root")
    parser.add_argument("--engine", choices=("auto", "ray", "in_process"), default="auto")
    parser.add_argument("--every-clip", action="store_true")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True)
    (arguments.output / "curate.yaml").write_text(json.dumps(config(arguments.engine, arguments.every_clip)))
    curate = [sys.executable, "-m", "curate_cli.main"]
    root = ["--root", str(arguments.output)]
    subprocess.run([*curate, "add", str(arguments.footage), *root], check=True)
    subprocess.run([*curate, "materialize", *root], check=True)


if __name__ == "__main__":
    main()

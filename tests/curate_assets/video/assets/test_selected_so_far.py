"""`selected_so_far`: costly measurements leave out what cheap scores reject, and the same clips are selected."""

import numpy as np

from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.borders import BORDERS
from curate_assets.video.assets.selected_so_far import SELECTED_SO_FAR
from curate_assets.video.report.library import Library

WANTED = frozenset({SELECTED_SO_FAR.name, BORDERS.name, CLIP_SELECTION.name})


def test_what_cheap_scores_reject_is_not_measured_and_the_same_clips_are_selected(copy) -> None:
    clips = copy.tables.read(CLIPS, where="status = 'ok'")
    seconds = (clips["end_ns"].to_numpy() - clips["start_ns"].to_numpy()) / 1e9
    median, longer = (float(np.quantile(seconds, share)) for share in (0.5, 0.8))

    def run(least: float, when: str) -> tuple[int, dict[str, dict]]:
        """How many clips were measured, and the verdicts."""
        settings = {"borders": {"enabled": True, "when": when}}
        settings["clip_selection"] = {"seconds_min": least, "border_share_max": 0.0}
        done = copy.run(WANTED, settings)
        measured = sum(each.computed for name, each in done.items() if name.startswith(BORDERS.name))
        return measured, {row["clip_id"]: row for row in copy.tables.read(CLIP_SELECTION).to_pylist()}

    def without() -> set[str]:
        return {*clips["clip_id"].to_pylist()} - {*copy.tables.read(BORDERS)["clip_id"].to_pylist()}

    short, shorter = ({*clips.filter(seconds < least)["clip_id"].to_pylist()} for least in (longer, median))
    assert 0 < len(shorter) < len(short) < clips.num_rows
    measured, few = run(longer, "selected_so_far")
    assert measured == clips.num_rows - len(short) and without() == short
    assert {clip for clip, row in few.items() if row["not_measured"]} == short
    assert all("border_share_unmeasured" not in row["reasons"] for row in few.values())
    assert Library(copy.tables).not_measured == {"borders": len(short)}
    rejected = {row["clip_id"]: row["reasons"] for row in copy.tables.read(SELECTED_SO_FAR).to_pylist()}
    assert all("seconds_low" in reasons for clip, reasons in rejected.items() if clip in short)

    measured, _ = run(median, "selected_so_far")  # a looser threshold measures what it admits
    assert measured == len(short) - len(shorter) and without() == shorter

    _, by_all = run(longer, "always")
    assert without() == set() and not any(row["not_measured"] for row in by_all.values())
    assert copy.tables.read(SELECTED_SO_FAR).num_rows == 0
    assert {clip for clip, row in by_all.items() if row["selected"]} == {
        clip for clip, row in few.items() if row["selected"]
    }

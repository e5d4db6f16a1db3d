"""`shot_signals`: the probability of every frame to be in a shot transition, from the scan."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from curate_assets.graph.drift import Measures
from curate_assets.graph.platform import CheckLimits
from curate_assets.graph.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.segments import appended, overlapping, with_values
from curate_resources.declarations.stage import SegmentsDisagree
from curate_resources.declarations.table import Column, Row, Table
from gpu_kernels.media.segments import Segment
from gpu_kernels.scan.scan import ScanChunk, ScanEnd, Scanned
from gpu_kernels.shots.transitions import (
    ShotNetwork,
    ShotSignalsConfig,
    TransitionStream,
    model_identity,
)


def _measures(rows: pa.Table) -> Measures:
    """Frames that were decoded, and what was damaged."""
    names = ["frames", "decode_errors", "damaged_frames"]
    found = rows.filter(pc.field("status") == "ok").select(names).to_pylist()
    return {name: [float(sum(row[name] or 0 for row in found))] for name in names}


SHOT_SIGNALS = Table(
    name="shot_signals",
    grain="video",
    keys=("video_id",),
    version="6",
    sections=("shot_signals",),
    measures=_measures,
    model=lambda config: model_identity(config.shot_signals),
    columns=(
        VIDEO_ID,
        Column("frames", pa.int64(), "frames that were decoded"),
        Column("pts_ns", pa.list_(pa.int64()), "presentation time of every frame, increasing"),
        Column(
            "transition",
            pa.list_(pa.float32()),
            "probability of every frame to be in a shot transition; empty with `shot_signals.network: none`",
        ),
        Column("decode_errors", pa.int64(), "packets that could not be decoded"),
        Column("damaged_frames", pa.int64(), "frames that the decoder marked as damaged"),
        Column("model", pa.string(), "the network that made the curve"),
        Column("model_revision", pa.string(), "what pins its weights"),
    ),
    description=(
        "Per video: the presentation time of every frame and TransNetV2's probability that it belongs to a shot "
        "transition. The whole curve is kept, so that thresholds change later without decoding."
    ),
)


class ShotsOfVideo:
    name = SHOT_SIGNALS.name

    def __init__(self, video_id: str, config: ShotSignalsConfig, network: ShotNetwork | None, own: Segment) -> None:
        name, revision = model_identity(config)
        self._row: Row = {"video_id": video_id, "model": name, "model_revision": revision}
        self._stream = TransitionStream(network, own.before) if network is not None else None
        self._after = own.after
        self._whole: NDArray[np.float32] | None = None
        self._pts: list[np.ndarray] = []

    def add(self, chunk: Scanned) -> None:
        if isinstance(chunk, ScanEnd):
            self._row |= {"decode_errors": chunk.decode_errors, "damaged_frames": chunk.damaged_frames}
        elif isinstance(chunk, ScanChunk):
            self._pts.append(chunk.pts_ns)
            if self._stream is not None:
                self._stream.add(chunk.thumbnails)

    def curve(self, whole: bool, since: int = 0) -> NDArray[np.float32]:
        """The curve from frame `since` on: as far as it is known, or, after the last frame, to its end; empty without a
        network."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        if not whole:
            return self._stream.so_far(since)
        if self._whole is None:
            self._whole = self._stream.finish(self._after)
        return self._whole[since:]

    def rows(self, frames: int | None) -> list[Row]:
        pts = np.concatenate(self._pts)
        curve = self.curve(whole=frames is None)
        known = len(pts) if frames is None or self._stream is None else len(curve)
        known = known if frames is None else min(known, frames)
        return [{**self._row, "frames": known, "pts_ns": pts[:known], "transition": curve[:known]}]


def joined_shots(segments: Sequence[pa.Table]) -> pa.Table:
    if any(rows[column][0].as_py() for rows in segments for column in ("decode_errors", "damaged_frames")):
        raise SegmentsDisagree("there is damage in it")
    pts = overlapping(segments, "pts_ns")
    values = {"frames": len(pts), "pts_ns": pts, "transition": appended(segments, "transition")}
    return with_values(segments[0], values)


def _curves(shard: Shard) -> Problems:
    found: Problems = []
    for row in shard.good(SHOT_SIGNALS):
        name = shard.named(SHOT_SIGNALS, row)
        curve, pts = np.array(row["transition"], np.float32), np.array(row["pts_ns"], np.int64)
        if len(pts) != row["frames"] or len(curve) not in (0, row["frames"]):
            found.append(f"{name}: {row['frames']} frames, {len(pts)} times, {len(curve)} probabilities")
        elif not (np.isfinite(curve).all() and (curve >= 0).all() and (curve <= 1).all()):
            found.append(f"{name}: probabilities outside 0 to 1")
        elif (np.diff(pts) <= 0).any():
            found.append(f"{name}: presentation times go back")
    return found


class ShotSignalsLimits(CheckLimits):
    """What the checks of `shot_signals` accept."""

    max_damaged_share: float = Field(default=0.05, ge=0, le=1)
    """Greatest share of frames of a shard that are damaged or could not be decoded."""


def _damage(shard: Shard) -> Finding:
    measured = {name: values[0] for name, values in shard.measures(SHOT_SIGNALS).items()}
    damaged = measured["decode_errors"] + measured["damaged_frames"]
    share = damaged / max(1.0, measured["frames"] + measured["decode_errors"])
    limit = shard.limits(ShotSignalsLimits).max_damaged_share
    said = f"{damaged:,.0f} frames are damaged or missing: {share:.1%} of all, more than {limit:.1%}"
    return Finding([said] if share > limit else [], {"damaged_share": share})


CHECKS = (
    Check(
        SHOT_SIGNALS,
        "curves_valid",
        "One probability and one increasing time per frame.",
        nothing_wrong(_curves),
        "select video_id, frames, len(pts_ns) as times, len(transition) as probabilities, "
        "list_min(transition) as least, list_max(transition) as greatest from shot_signals where shard = $shard",
    ),
    Check(
        SHOT_SIGNALS,
        "damage_small",
        "Frames that are damaged, or could not be decoded, are within checks.max_damaged_share.",
        _damage,
        "select v.uri, s.frames, s.decode_errors, s.damaged_frames from shot_signals s "
        "join source_videos v using (shard, video_id) "
        "where s.shard = $shard and s.decode_errors + s.damaged_frames > 0 "
        "order by s.decode_errors + s.damaged_frames desc",
    ),
)

"""`boundary_signals`: what the pictures say about the frames that the shot network suspects, from the scan."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.shot_signals import ShotsOfVideo
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.segments import appended, with_values
from curate_resources.declarations.table import Column, Row, Table
from gpu_kernels.media.segments import Segment
from gpu_kernels.scan.scan import ScanChunk, Scanned
from gpu_kernels.shots.evidence import FIELDS, FLOOR, EvidenceStream
from gpu_kernels.shots.transitions import model_identity

BOUNDARY_SIGNALS = Table(
    name="boundary_signals",
    grain="video",
    keys=("video_id",),
    sections=("shot_signals",),
    model=lambda config: model_identity(config.shot_signals),
    columns=(
        VIDEO_ID,
        Column("frames", pa.int64(), "frames of the video"),
        Column("frame", pa.list_(pa.int64()), f"the frames whose transition probability is above {FLOOR:g}"),
        Column(
            "evidence",
            pa.list_(pa.float32()),
            f"of each of these frames {len(FIELDS)} numbers, frame by frame: {', '.join(FIELDS)}; differences are "
            "shares of the contrast of 48x27 thumbnails, after motion and a change of light are taken out",
        ),
    ),
    description=(
        "Per video: how the pictures on both sides of every frame compare that the shot network suspects to be in a "
        "transition. Made of the scan's thumbnails, and only where `shot_boundaries` is enabled."
    ),
)


class BoundariesOfVideo:
    """Takes the evidence of a video; `shots` is given each chunk before."""

    name = BOUNDARY_SIGNALS.name

    def __init__(self, video_id: str, shots: ShotsOfVideo, own: Segment) -> None:
        self._video_id, self._shots, self._own = video_id, shots, own
        self._stream = EvidenceStream(own.before)

    def add(self, chunk: Scanned) -> None:
        if isinstance(chunk, ScanChunk):
            self._stream.add(chunk.thumbnails, self._shots.curve(whole=False, since=self._stream.given))

    def rows(self, frames: int | None) -> list[Row]:
        if frames is None:
            self._stream.finish(self._shots.curve(whole=True, since=self._stream.given), self._own.after)
        frame, evidence = self._stream.found()
        known = self._stream.done
        if frames is not None:
            known = _finished(frame, min(known, frames))
            frame, evidence = frame[frame < known], evidence[frame < known]
        return [
            {
                "video_id": self._video_id,
                "frames": known,
                "frame": frame + self._own.start,
                "evidence": evidence.ravel(),
            }
        ]


def _finished(frame: NDArray[np.int64], known: int) -> int:
    """How many of the first `known` frames lie before a run of suspected ones that may go on: its peak is not known."""
    suspected = np.zeros(known + 1, np.bool_)
    suspected[frame[frame < known] + 1] = True
    return int(np.flatnonzero(~suspected)[-1])


def joined_boundaries(segments: Sequence[pa.Table]) -> pa.Table:
    values = {name: appended(segments, name) for name in ("frame", "evidence")}
    return with_values(segments[0], {**values, "frames": sum(rows["frames"][0].as_py() for rows in segments)})


def _evidence_whole(shard: Shard) -> Problems:
    found: Problems = []
    for row in shard.good(BOUNDARY_SIGNALS):
        frame, evidence = np.array(row["frame"], np.int64), np.array(row["evidence"], np.float32)
        if len(evidence) != len(frame) * len(FIELDS) or not np.isfinite(evidence).all():
            found.append(
                f"{shard.named(BOUNDARY_SIGNALS, row)}: {len(frame)} frames, {len(evidence)} numbers, not all finite"
            )
        elif len(frame) and not (frame[0] >= 0 and (np.diff(frame) > 0).all() and frame[-1] < row["frames"]):
            found.append(f"{shard.named(BOUNDARY_SIGNALS, row)}: frames that are not in order, or not in the video")
    return found


CHECKS = (
    Check(
        BOUNDARY_SIGNALS,
        "evidence_whole",
        "Every frame has all numbers, and they are finite.",
        nothing_wrong(_evidence_whole),
        f"select video_id, frames, len(frame) as suspected, len(evidence) / {len(FIELDS)} as measured "
        "from boundary_signals where shard = $shard",
    ),
)

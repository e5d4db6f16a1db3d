"""`boundary_signals`: made in the scan where something asks for it, of the network's curve and the thumbnails."""

import numpy as np
import pyarrow as pa

from curate_assets.settings.resolve import validated
from curate_assets.video.assets.boundary_signals import BOUNDARY_SIGNALS, BoundariesOfVideo, joined_boundaries
from curate_assets.video.assets.shot_boundaries import SHOT_BOUNDARIES
from curate_assets.video.assets.shot_signals import ShotsOfVideo
from curate_assets.video.graph import VIDEO
from curate_resources.declarations.table import Row
from gpu_kernels.media.segments import WHOLE, Segment
from gpu_kernels.scan.scan import ScanChunk
from gpu_kernels.shots.evidence import FIELDS, EvidenceStream
from gpu_kernels.shots.transitions import CONTEXT_FRAMES, ShotSignalsConfig
from gpu_kernels.shots.verdicts import ShotBoundariesConfig, judged


class Reddest:
    """A network that calls what is red."""

    window, batch = 100, 1

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        return windows[..., 0].mean((2, 3)).astype(np.float32) / 255


def film() -> np.ndarray:
    random = np.random.default_rng(5)
    pictures = random.integers(0, 256, (250, 27, 48, 3), np.uint8)
    pictures[..., 0] = random.choice([0, 0, 0, 40, 200], 250).astype(np.uint8)[:, None, None]
    return pictures


def rows_of(pictures: np.ndarray, own: Segment, beginnings: list[Row] | None = None) -> Row:
    shots = ShotsOfVideo("v", ShotSignalsConfig(), Reddest(), own)
    boundaries = BoundariesOfVideo("v", shots, own)
    end = len(pictures) if own.end is None else own.end + own.after
    for at in range(own.start - own.before, end, 40):
        pts, none = np.arange(at, min(at + 40, end)) * 40, np.zeros(min(40, end - at), np.float32)
        chunk = ScanChunk(pictures[at : min(at + 40, end)], pts, none, none, [], [], [], [], [])
        shots.add(chunk)
        boundaries.add(chunk)
        (early,) = boundaries.rows(at)
        assert early["frames"] <= max(0, at + 40 - CONTEXT_FRAMES)  # what is not seen yet says nothing
        if beginnings is not None:
            beginnings.append(early)
    (row,) = boundaries.rows(None)
    return row


def table(row: Row) -> pa.Table:
    types = {field.name: field.type for field in BOUNDARY_SIGNALS.rows_schema}
    return pa.table({name: pa.array([value], types[name]) for name, value in row.items()})


def test_rows_are_the_evidence_of_what_the_network_suspects_whole_and_in_segments() -> None:
    pictures = film()
    whole = rows_of(pictures, WHOLE)
    curve = Reddest()(pictures[None])[0]
    stream = EvidenceStream()
    stream.add(pictures, curve)
    stream.finish()
    frames, evidence = stream.found()
    assert whole["frames"] == 250 and len(frames) > 40 and whole["frame"].tolist() == frames.tolist()
    assert whole["evidence"].tolist() == evidence.ravel().tolist() and evidence.shape[1] == len(FIELDS)
    segments = [Segment(0, 100, 0, None, 4000), Segment(100, None, 0, 4000, None)]
    assert (
        joined_boundaries([table(rows_of(pictures, own)) for own in segments]).to_pylist() == table(whole).to_pylist()
    )


def test_what_a_beginning_says_holds_for_the_whole() -> None:
    """The network suspects frame 45 a little, the frames after it less, and calls 55; 50 frames are known before."""
    curve = np.zeros(250, np.float32)
    curve[20], curve[44:70], curve[45], curve[55] = 0.3, 0.1, 0.2, 0.9
    pictures = film()
    pictures[..., 0] = np.round(curve * 255).astype(np.uint8)[:, None, None]
    beginnings: list[Row] = []
    whole = rows_of(pictures, WHOLE, beginnings)

    def added(row: Row) -> list[tuple[int, int]]:
        frames, known = np.array(row["frame"], np.int64), curve[: row["frames"]]
        evidence = np.array(row["evidence"], np.float32).reshape(len(frames), len(FIELDS))
        found = judged(known, frames, evidence, 0.4, ShotBoundariesConfig(keep_above=0, add_above=0))
        return [(each.first, each.end) for each in found]

    assert added(whole) == [(20, 21), (55, 56)]
    told = [(row["frames"], added(row)) for row in beginnings]
    assert (44, [(20, 21)]) in told  # 50 are known, and the last six may still become anything
    assert all(found == added(whole)[: len(found)] for _, found in told)


def test_it_is_made_only_where_boundaries_are_judged() -> None:
    both = {BOUNDARY_SIGNALS.name, SHOT_BOUNDARIES.name}
    assert both <= VIDEO.idle(validated({}))
    assert not both & VIDEO.idle(validated({"shot_boundaries": {"enabled": True}}))

"""The scan: one decode of the source gives `shot_signals`, `motion_signals`, `storyboards` and their variants."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.graph.stage_resources import model_needs
from curate_assets.video.assets import motion_signals, shot_signals, storyboards
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS, MotionOfVideo, joined_motion
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS, ShotSignalsLimits, ShotsOfVideo, joined_shots
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, opened
from curate_assets.video.assets.storyboards import STORYBOARDS, StoryboardOfVideo, storyboard_folder
from curate_assets.video.segments import segment_of, segments_of
from curate_resources.declarations.stage import ClosedWorker, Needs, Segments, Stage, Work, Worker
from curate_resources.declarations.table import Row
from curate_resources.storage.root import Storage
from gpu_kernels.media.segments import WHOLE
from gpu_kernels.media.storyboards import StoryboardsConfig
from gpu_kernels.sandbox import Nursery
from gpu_kernels.scan.scan import ScanChunk, ScanEnd, read_scan
from gpu_kernels.scores.motion import MotionSignalsConfig
from gpu_kernels.shots.transitions import (
    ShotNetwork,
    ShotSignalsConfig,
    load_network,
)


def open_scanner(config: Any, storage: Storage) -> Worker:
    """A worker that decodes each video once; the network runs here while the child decodes ahead."""
    nursery = Nursery(config.limits)
    network: ShotNetwork | None = None

    def scan(work: Work) -> Mapping[str, list[Row]]:
        nonlocal network
        wants = work.wanted.__contains__
        if wants(SHOT_SIGNALS.name) and network is None:
            network = load_network(config.shot_signals)
        rows: dict[str, list[Row]] = {name: [] for name in work.wanted}
        # Whatever else is wanted is a storyboard, or a variant of it.
        boards = sorted(work.wanted - {SHOT_SIGNALS.name, MOTION_SIGNALS.name})
        for index, item in enumerate(work.items.to_pylist()):
            video_id = item["video_id"]
            own = segment_of(item, *work.segment) if work.segment is not None else WHOLE
            gatherers: list[_Gatherer] = []
            if wants(SHOT_SIGNALS.name):
                gatherers.append(ShotsOfVideo(video_id, config.shot_signals, network, own))
            if wants(MOTION_SIGNALS.name):
                gatherers.append(MotionOfVideo(video_id))
            for board, name in enumerate(boards):
                folder = storyboard_folder(video_id, work.fingerprints[name][index])
                gatherers.append(StoryboardOfVideo(name, board, video_id, folder, storage))
            with opened(item) as path:
                chunks = read_scan(
                    nursery,
                    path,
                    config.motion_signals if wants(MOTION_SIGNALS.name) else None,
                    [config.section(name, StoryboardsConfig) for name in boards],
                    segment=own,
                )
                frames, tell_at = 0, storyboards.PACK_FRAMES
                for chunk in chunks:
                    for gatherer in gatherers:
                        gatherer.add(chunk)
                    frames += 0 if isinstance(chunk, ScanEnd) else len(chunk.pts_ns)
                    if work.early is not None and frames >= tell_at and frames % storyboards.PACK_FRAMES == 0:
                        work.early({gatherer.name: gatherer.rows(frames) for gatherer in gatherers})
                        tell_at = frames + frames // 4  # looking through a beginning takes as long as it is long
                for gatherer in gatherers:
                    rows[gatherer.name] += gatherer.rows(None)
        return rows

    return ClosedWorker(scan, nursery.close)


class _Gatherer(Protocol):
    """Takes what one table needs from the chunks of a scan, and makes its rows of it."""

    name: str
    """Of the table."""

    def add(self, chunk: ScanChunk | ScanEnd) -> None: ...

    def rows(self, frames: int | None) -> list[Row]:
        """The rows of the whole video; or of what will not change any more of its first `frames`, all read so far."""
        ...


def join_segments(segments: Sequence[Mapping[str, pa.Table]]) -> dict[str, pa.Table]:
    """The rows of a video from those of its segments, whose frames overlap by their context.

    Raises:
        SegmentsDisagree: where two overlap, they are not the same; or there is damage, which one scan counts otherwise.
    """
    joined: dict[str, pa.Table] = {}
    for name in segments[0]:
        tables = [rows[name] for rows in segments]
        match name:
            case SHOT_SIGNALS.name:
                joined[name] = joined_shots(tables)
            case MOTION_SIGNALS.name:
                joined[name] = joined_motion(tables)
            case _:
                joined[name] = pa.concat_tables(tables)
    return joined


def scan_needs(config: Any) -> Needs:
    """The network and what it computes on take some 2.5 GiB of a GPU."""
    return model_needs("cpu" if config.shot_signals.network == "none" else config.shot_signals.device, 0.125)


SCAN = Stage(
    name="scan",
    item=SOURCE_VIDEOS.name,
    reads=(),
    writes=(SHOT_SIGNALS, MOTION_SIGNALS, STORYBOARDS),
    open=open_scanner,
    heavy=True,
    needs_of=scan_needs,
    segments=Segments(segments_of, join_segments),
    reads_sources=True,
)

ASSETS = (
    Asset(SHOT_SIGNALS, SCAN, "signals", shot_signals.CHECKS, section=ShotSignalsConfig, limits=ShotSignalsLimits),
    Asset(MOTION_SIGNALS, SCAN, "signals", motion_signals.CHECKS, section=MotionSignalsConfig),
    Asset(
        STORYBOARDS,
        SCAN,
        "signals",
        storyboards.CHECKS,
        storyboards.preview,
        section=StoryboardsConfig,
        several=True,
    ),
)

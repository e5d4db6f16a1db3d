"""The scan: one decode of the source gives all signals, `storyboards` and their variants."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.graph.stage_resources import model_needs
from curate_assets.video.assets import (
    audio_signals,
    boundary_signals,
    frame_signals,
    motion_signals,
    picture_hashes,
    shot_signals,
    speech_tracks,
    storyboards,
)
from curate_assets.video.assets.audio_signals import AUDIO_SIGNALS, SoundOfVideo, has_sound, joined_sound
from curate_assets.video.assets.boundary_signals import BOUNDARY_SIGNALS, BoundariesOfVideo, joined_boundaries
from curate_assets.video.assets.frame_signals import FRAME_SIGNALS, FrameSignalsOfVideo, joined_frame_signals
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS, MotionOfVideo, joined_motion
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES, PicturesOfVideo, joined_hashes
from curate_assets.video.assets.shot_signals import SHOT_SIGNALS, ShotSignalsLimits, ShotsOfVideo, joined_shots
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, opened
from curate_assets.video.assets.speech_tracks import SPEECH_TRACKS, TrackOfVideo, joined_track, track_folder
from curate_assets.video.assets.storyboards import STORYBOARDS, StoryboardOfVideo, storyboard_folder
from curate_assets.video.segments import segment_of, segments_of
from curate_resources.declarations.stage import ClosedWorker, Needs, Segments, Stage, Work, Worker
from curate_resources.declarations.table import Row
from curate_resources.storage.root import Storage
from gpu_kernels.media.segments import WHOLE, Segment
from gpu_kernels.media.storyboards import StoryboardsConfig
from gpu_kernels.sandbox import Nursery
from gpu_kernels.scan.frame_sampler import FrameSignalsConfig
from gpu_kernels.scan.scan import ScanChunk, Scanned, read_scan
from gpu_kernels.scores.audio import AudioSignalsConfig
from gpu_kernels.scores.motion import MotionSignalsConfig
from gpu_kernels.shots.transitions import (
    ShotNetwork,
    ShotSignalsConfig,
    load_network,
)
from gpu_kernels.sound.hearing import read_sound
from gpu_kernels.sound.voice_detector import VoiceNetwork

_HEARD = (AUDIO_SIGNALS, SPEECH_TRACKS)
_SIGNALS = (SHOT_SIGNALS, BOUNDARY_SIGNALS, MOTION_SIGNALS, PICTURE_HASHES, FRAME_SIGNALS, *_HEARD)


def open_scanner(config: Any, storage: Storage) -> Worker:
    """A worker that decodes each video once; the network runs here while the child decodes ahead."""
    nursery = Nursery(config.limits)
    network: ShotNetwork | None = None
    voices: VoiceNetwork | None = None

    def scan(work: Work) -> Mapping[str, list[Row]]:
        nonlocal network, voices
        wants = work.wanted.__contains__
        reads_curve = wants(SHOT_SIGNALS.name) or wants(BOUNDARY_SIGNALS.name)
        if reads_curve and network is None:
            network = load_network(config.shot_signals)
        if wants(AUDIO_SIGNALS.name) and voices is None and config.audio_signals.voice_detector != "none":
            voices = VoiceNetwork()
        rows: dict[str, list[Row]] = {name: [] for name in work.wanted}
        # Whatever else is wanted is a storyboard, or a variant of it.
        boards = sorted(work.wanted - {each.name for each in _SIGNALS})
        for index, item in enumerate(work.items.to_pylist()):
            video_id = item["video_id"]
            own = segment_of(item, *work.segment) if work.segment is not None else WHOLE
            gatherers: list[_Gatherer] = []
            if reads_curve:
                gatherers.append(shots := ShotsOfVideo(video_id, config.shot_signals, network, own))
                if wants(BOUNDARY_SIGNALS.name):
                    gatherers.append(BoundariesOfVideo(video_id, shots, own))
            if wants(MOTION_SIGNALS.name):
                gatherers.append(MotionOfVideo(video_id))
            if wants(PICTURE_HASHES.name):
                gatherers.append(PicturesOfVideo(video_id, own))
            if wants(FRAME_SIGNALS.name):
                gatherers.append(FrameSignalsOfVideo(video_id, own))
            for board, name in enumerate(boards):
                folder = storyboard_folder(video_id, work.fingerprints[name][index])
                gatherers.append(StoryboardOfVideo(name, board, video_id, folder, storage))
            sounds: list[SoundOfVideo | TrackOfVideo] = []
            if wants(AUDIO_SIGNALS.name):
                sounds.append(SoundOfVideo(item, config, voices))
            if wants(SPEECH_TRACKS.name):
                folder = track_folder(video_id, work.fingerprints[SPEECH_TRACKS.name][index])
                sounds.append(TrackOfVideo(video_id, folder, storage, has_sound(item)))
            gatherers += sounds

            def scanned(item: Row = item, own: Segment = own, hear: bool = bool(sounds)) -> Iterator[Scanned]:
                hear = hear and own.start == 0 and has_sound(item)  # the first segment hears all
                restarts = item["clock_restarts"] > 0
                if work.wanted - {each.name for each in _HEARD}:  # else no frame has to be decoded
                    motion = config.motion_signals if wants(MOTION_SIGNALS.name) else None
                    sampled = config.frame_signals if wants(FRAME_SIGNALS.name) else None
                    wanted = [config.section(name, StoryboardsConfig) for name in boards]
                    with opened(item) as path:
                        overviews = wants(PICTURE_HASHES.name)
                        yield from read_scan(nursery, path, motion, wanted, own, hear, restarts, sampled, overviews)
                elif hear:
                    with opened(item) as path:
                        yield from read_sound(nursery, path, restarts)

            times: list[np.ndarray] = []
            frames, tell_at = 0, storyboards.PACK_FRAMES
            for chunk in scanned():
                for gatherer in gatherers:
                    gatherer.add(chunk)
                if not isinstance(chunk, ScanChunk):
                    continue
                times.append(chunk.pts_ns)
                frames += len(chunk.pts_ns)
                if work.early is not None and frames >= tell_at and frames % storyboards.PACK_FRAMES == 0:
                    known = min([frames, *(_frames_until(each.known_until_ns(), times) for each in sounds)])
                    if known:
                        work.early({each.name: each.rows(known) for each in gatherers if wants(each.name)})
                    tell_at = frames + frames // 4  # looking through a beginning takes as long as it is long
            for gatherer in gatherers:
                if wants(gatherer.name):
                    rows[gatherer.name] += gatherer.rows(None)
        return rows

    return ClosedWorker(scan, nursery.close)


def _frames_until(time_ns: float, times: list[np.ndarray]) -> int:
    """How many frames begin up to a time."""
    return int(np.searchsorted(np.concatenate(times), time_ns, "right"))


class _Gatherer(Protocol):
    """Takes what one table needs from the chunks of a scan, and makes its rows of it."""

    name: str
    """Of the table."""

    def add(self, chunk: Scanned) -> None: ...

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
            case BOUNDARY_SIGNALS.name:
                joined[name] = joined_boundaries(tables)
            case MOTION_SIGNALS.name:
                joined[name] = joined_motion(tables)
            case PICTURE_HASHES.name:
                joined[name] = joined_hashes(tables)
            case AUDIO_SIGNALS.name:
                joined[name] = joined_sound(tables)
            case SPEECH_TRACKS.name:
                joined[name] = joined_track(tables)
            case FRAME_SIGNALS.name:
                joined[name] = joined_frame_signals(tables)
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
    writes=(*_SIGNALS, STORYBOARDS),
    open=open_scanner,
    heavy=True,
    needs_of=scan_needs,
    segments=Segments(segments_of, join_segments),
    reads_sources=True,
)

ASSETS = (
    Asset(SHOT_SIGNALS, SCAN, "signals", shot_signals.CHECKS, section=ShotSignalsConfig, limits=ShotSignalsLimits),
    Asset(BOUNDARY_SIGNALS, SCAN, "signals", boundary_signals.CHECKS, on_demand=True),
    Asset(MOTION_SIGNALS, SCAN, "signals", motion_signals.CHECKS, section=MotionSignalsConfig),
    Asset(PICTURE_HASHES, SCAN, "signals", picture_hashes.CHECKS),
    Asset(AUDIO_SIGNALS, SCAN, "signals", audio_signals.CHECKS, section=AudioSignalsConfig, on_demand=True),
    Asset(SPEECH_TRACKS, SCAN, "signals", speech_tracks.CHECKS, on_demand=True),
    Asset(FRAME_SIGNALS, SCAN, "signals", frame_signals.CHECKS, section=FrameSignalsConfig, on_demand=True),
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

"""`speech_tracks`: the sound of every video as one channel at 16 kHz, from the scan, for what listens to words."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa

from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scan.scan import Scanned
from gpu_kernels.sound.messages import HeardSound, SoundEnd
from gpu_kernels.sound.track import TrackCutter, TrackPiece, flac

SPEECH_TRACKS = Table(
    name="speech_tracks",
    grain="piece of sound",
    keys=("video_id", "piece"),
    media="media/speech_tracks",
    columns=(
        VIDEO_ID,
        Column("piece", pa.int32(), "number of the piece in its video, from 0"),
        Column("start_ns", pa.int64(), "when it begins; null where the video has no sound"),
        Column("end_ns", pa.int64(), "when it ends"),
        Column("path", pa.string(), "its FLAC file, below the root"),
        Column("bytes", pa.int64(), "size of the file"),
    ),
    description=(
        "The sound of every video as one channel at 16 kHz, in FLAC files of at most 28 seconds that end where it is "
        "quiet. Only made where something listens to it. A video without sound that can be heard has one empty row."
    ),
)


def track_folder(video_id: str, fingerprint: str) -> str:
    """Where the pieces of a video lie; another way of making them is another folder, so none is ever overwritten."""
    return f"{SPEECH_TRACKS.media}/{video_id}-{fingerprint[:8]}"


class TrackOfVideo:
    """Stores the sound of a scan."""

    name = SPEECH_TRACKS.name

    def __init__(self, video_id: str, folder: str, storage: Storage, heard: bool) -> None:
        self._video_id, self._folder, self._storage = video_id, folder, storage
        self._cutter = TrackCutter()
        self._rows: list[Row] = []
        self._until_ns = -math.inf
        self._ended = not heard

    def add(self, chunk: Scanned) -> None:
        if isinstance(chunk, HeardSound):
            self._store(self._cutter.add(chunk.pts_ns, chunk.levels.voice))
        elif isinstance(chunk, SoundEnd):
            self._store(self._cutter.finish())
            self._ended = True

    def rows(self, frames: int | None) -> list[Row]:
        nothing: Row = {"video_id": self._video_id, "piece": 0, "status": "empty"}
        return list(self._rows) or [nothing]

    def known_until_ns(self) -> float:
        """What is heard before this time is stored."""
        return math.inf if self._ended else self._until_ns

    def _store(self, pieces: Sequence[TrackPiece]) -> None:
        for piece in pieces:
            number, data = len(self._rows), flac(piece.samples)
            path = f"{self._folder}/{number:06d}.flac"
            self._storage.write(path, data)
            self._rows.append(
                {
                    "video_id": self._video_id,
                    "piece": number,
                    "start_ns": piece.start_ns,
                    "end_ns": piece.end_ns,
                    "path": path,
                    "bytes": len(data),
                }
            )
            self._until_ns = piece.end_ns


def joined_track(segments: Sequence[pa.Table]) -> pa.Table:
    """The first segment hears all of the sound."""
    return segments[0]


def _pieces_in_order(shard: Shard) -> Problems:
    return [
        f"{shard.named(SPEECH_TRACKS, later)}: it begins before piece {earlier['piece']} ends"
        for earlier, later in pairwise(shard.good(SPEECH_TRACKS))
        if earlier["video_id"] == later["video_id"] and later["start_ns"] < earlier["end_ns"]
    ]


CHECKS = (
    Check(
        SPEECH_TRACKS,
        "pieces_in_order",
        "No piece begins before the one before it ends.",
        nothing_wrong(_pieces_in_order),
        "select video_id, piece, start_ns, end_ns from speech_tracks where shard = $shard and status = 'ok' "
        "qualify start_ns < lag(end_ns) over (partition by video_id order by piece)",
    ),
)

"""Small pictures of clips, from the storyboards of their videos."""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboard
from curate_resources.tables.lance_tables import Tables, one_of

SIDE = 160
"""Longest side in pixels."""
_QUALITY = 78
_OF_WINDOW = 3
"""Pictures of a window: one alone says nothing of what happens."""
_COLUMNS = ["shard", "video_id", "frame", "pts_ns", "path", "offset", "bytes", "status"]


@dataclass(frozen=True)
class Place:
    """A clip of a shard and where it lies in its video, in frames."""

    shard: str
    video_id: str
    clip_id: str
    start_frame: int
    end_frame: int


def window_places(shard: str, video_id: str, clip_id: str, start_frame: int, end_frame: int) -> list[Place]:
    """Moments of a window, from its beginning to its end, as places of no length."""
    length = end_frame - start_frame
    frames = [start_frame + length * (2 * part + 1) // (2 * _OF_WINDOW) for part in range(_OF_WINDOW)]
    return [Place(shard, video_id, clip_id, frame, frame) for frame in frames]


@dataclass(frozen=True)
class Moment:
    """A time of a video, in nanoseconds."""

    shard: str
    video_id: str
    pts_ns: int


def thumbnails(tables: Tables, places: Iterable[Place]) -> dict[Place, bytes]:
    """A JPEG of the storyboard frame nearest the middle of each clip; clips without a picture are left out."""
    wanted = sorted(set(places), key=lambda place: (place.shard, place.video_id, place.start_frame))
    found: dict[Place, bytes] = {}
    boards = _boards(tables, {(place.shard, place.video_id) for place in wanted})
    for place in wanted:
        with suppress(OSError, ValueError):  # a picture that is gone: the page says what else is known of the clip
            board, middle = boards(place.shard, place.video_id), (place.start_frame + place.end_frame) // 2
            found[place] = _small(board.jpegs(board.within(middle, middle))[0])
    return found


def moment_pictures(tables: Tables, moments: Iterable[Moment]) -> dict[Moment, bytes]:
    """A JPEG of the storyboard frame nearest to each moment; those without a picture are left out."""
    wanted = set(moments)
    found: dict[Moment, bytes] = {}
    boards = _boards(tables, {(moment.shard, moment.video_id) for moment in wanted})
    for moment in sorted(wanted, key=lambda each: (each.shard, each.video_id, each.pts_ns)):
        with suppress(OSError, ValueError):
            board = boards(moment.shard, moment.video_id)
            nearest = min(range(len(board.pts_ns)), key=lambda place: abs(board.pts_ns[place] - moment.pts_ns))
            found[moment] = _small(board.jpegs([nearest])[0])
    return found


def _boards(tables: Tables, videos: Collection[tuple[str, str]]) -> Callable[[str, str], Storyboard]:
    """Looks up the storyboard of a shard's video, each once.

    Raises:
        ValueError: it has none.
    """
    where = f"status = 'ok' AND {one_of('video_id', (video for _, video in videos))}"
    rows = tables.read(STORYBOARDS, columns=_COLUMNS, where=where) if videos else None

    @cache
    def board(shard: str, video_id: str) -> Storyboard:
        return Storyboard(tables.storage, _of_video(rows, shard, video_id), video_id)

    return board


def _of_video(rows: pa.Table, shard: str, video_id: str) -> pa.Table:
    return rows.filter((pc.field("shard") == shard) & (pc.field("video_id") == video_id))


def _small(jpeg: bytes) -> bytes:
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("the storyboard holds no JPEG where its row points")
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    _, encoded = cv2.imencode(
        ".jpg", cv2.resize(picture, size, interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return encoded.tobytes()

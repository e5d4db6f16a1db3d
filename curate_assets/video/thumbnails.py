"""Small pictures of clips, from the storyboards of their videos."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboard
from curate_resources.tables.lance_tables import Tables, quoted

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


def thumbnails(tables: Tables, places: Iterable[Place]) -> dict[Place, bytes]:
    """A JPEG of the storyboard frame nearest the middle of each clip; clips without a picture are left out."""
    wanted = sorted(set(places), key=lambda place: (place.shard, place.video_id, place.start_frame))
    videos = ", ".join(quoted(video) for video in sorted({place.video_id for place in wanted}))
    rows = (
        tables.read(STORYBOARDS, columns=_COLUMNS, where=f"status = 'ok' AND video_id IN ({videos})")
        if wanted
        else None
    )
    boards: dict[tuple[str, str], Storyboard] = {}
    found: dict[Place, bytes] = {}
    for place in wanted:
        try:
            key = (place.shard, place.video_id)
            if key not in boards:
                boards[key] = Storyboard(tables.storage, _of_video(rows, *key), place.video_id)
            middle = (place.start_frame + place.end_frame) // 2
            found[place] = _small(boards[key].jpegs(boards[key].within(middle, middle))[0])
        except (OSError, ValueError):
            continue  # a picture that is gone: the page says what else is known of the clip
    return found


def _of_video(rows: pa.Table | None, shard: str, video_id: str) -> pa.Table:
    assert rows is not None
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

"""Reading a storyboard's pictures, for every stage that looks at pixels after the scan."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curate_resources.storage import Storage


class Storyboard:
    """The storyboard of one video.

    Attributes:
        frames: indices of its frames in the source video, ascending.
        pts_ns: their presentation times.
    """

    def __init__(self, storage: Storage, storyboards: pa.Table, video_id: str) -> None:
        """Find the rows of `video_id`.

        Raises:
            ValueError: the video has no storyboard.
        """
        rows: list[dict[str, Any]] = [
            row for row in storyboards.to_pylist() if row["video_id"] == video_id and row["status"] == "ok"
        ]
        if not rows:
            raise ValueError("the video has no storyboard: see the error of its row in storyboards")
        self._storage = storage
        self._rows = sorted(rows, key=lambda row: row["frame"])
        self.frames: list[int] = [row["frame"] for row in self._rows]
        self.pts_ns: list[int] = [row["pts_ns"] for row in self._rows]

    def within(self, start: int, end: int) -> list[int]:
        """Positions of the frames in [start, end); of the one nearest its middle where there is none inside."""
        inside = [position for position, frame in enumerate(self.frames) if start <= frame < end]
        middle = (start + end) // 2
        return inside or [min(range(len(self.frames)), key=lambda p: (abs(self.frames[p] - middle), p))]

    def jpegs(self, positions: Sequence[int]) -> list[bytes]:
        """The pictures at ascending positions, by one ranged read."""
        chosen = [self._rows[position] for position in positions]
        first, last = chosen[0], chosen[-1]
        base = first["offset"]
        data = self._storage.read(first["path"], base, last["offset"] + last["bytes"] - base)
        return [data[row["offset"] - base : row["offset"] - base + row["bytes"]] for row in chosen]

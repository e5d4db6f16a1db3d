"""Reading a storyboard's pictures, for every stage that looks at pixels after the scan."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from curate_resources.storage.root import Storage
from gpu_kernels.errors import UserError
from gpu_kernels.media.storyboards import Cadence, decoded


class Storyboards:
    """The storyboards of some videos, each looked up once.

    Args:
        frames_per_second: see `Storyboard`.
    """

    def __init__(self, storage: Storage, storyboards: pa.Table, frames_per_second: float | None = None) -> None:
        self._storage, self._table, self._rate = storage, storyboards, frames_per_second
        self._known: dict[str, Storyboard] = {}

    def of(self, video_id: str) -> "Storyboard":
        """The storyboard of a video.

        Raises:
            ValueError: it has none.
        """
        if video_id not in self._known:
            self._known[video_id] = Storyboard(self._storage, self._table, video_id, self._rate)
        return self._known[video_id]


class Storyboard:
    """The storyboard of one video.

    Args:
        frames_per_second: of the video, at most; those are taken that a storyboard of this rate would hold, if this is
            a whole fraction of the storyboard's. None: all.

    Attributes:
        frames: indices of its frames in the source video, ascending.
        pts_ns: their presentation times.
    """

    def __init__(
        self, storage: Storage, storyboards: pa.Table, video_id: str, frames_per_second: float | None = None
    ) -> None:
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
        if frames_per_second is not None:
            cadence = Cadence(frames_per_second)
            self._rows = [row for row in self._rows if cadence.due(row["pts_ns"])]
        self.frames: list[int] = [row["frame"] for row in self._rows]
        self.pts_ns: list[int] = [row["pts_ns"] for row in self._rows]
        self._due: dict[float, frozenset[int]] = {}

    def within(self, start: int, end: int) -> list[int]:
        """Positions of the frames in [start, end); if there is none, of the last before, or else of the first of all.

        So what comes after a clip never changes its pictures.
        """
        first, stop = bisect_left(self.frames, start), bisect_left(self.frames, end)
        return [*range(first, stop)] or [max(0, first - 1)]

    def sampled(self, start: int, end: int, frames_per_second: float) -> list[int]:
        """Of the frames `within` a clip, those that a storyboard of a lower rate would hold, and the first if there are
        none."""
        due, inside = self.due(frames_per_second), self.within(start, end)
        return [position for position in inside if position in due] or inside[:1]

    def due(self, frames_per_second: float) -> frozenset[int]:
        """Positions of the frames that a storyboard of a lower rate would hold."""
        if frames_per_second not in self._due:
            cadence = Cadence(frames_per_second)
            found = (position for position, pts_ns in enumerate(self.pts_ns) if cadence.due(pts_ns))
            self._due[frames_per_second] = frozenset(found)
        return self._due[frames_per_second]

    def size(self, positions: Sequence[int]) -> int:
        """Bytes of the pictures at some positions."""
        return sum(self._rows[position]["bytes"] for position in positions)

    def jpegs(self, positions: Sequence[int]) -> list[bytes]:
        """The pictures at ascending positions, by one ranged read of every file that they lie in.

        Raises:
            UserError: a file is cut off.
        """
        pictures: list[bytes] = []
        for path, run in groupby((self._rows[position] for position in positions), key=lambda row: row["path"]):
            rows = list(run)
            base, last = rows[0]["offset"], rows[-1]
            length = last["offset"] + last["bytes"] - base
            if len(data := self._storage.read(path, base, length)) < length:
                again = "`curate materialize --select storyboards --force` of its shard makes it again"
                raise UserError(f"{self._storage.uri(path)} is cut off: {again}")
            pictures += [data[row["offset"] - base : row["offset"] - base + row["bytes"]] for row in rows]
        return pictures

    def pictures(self, start: int, end: int, most: int) -> tuple[list[int], list[np.ndarray]]:
        """Positions and pictures of the frames in [start, end), as `within` has them, to be compared with each other.

        Args:
            most: of more, every second is taken, or every third, and so on.

        Returns:
            The pictures, uint8 RGB [height, width, 3], have the size of the first.
        """
        positions = self.within(start, end)
        positions = positions[:: -(-len(positions) // most)]
        return positions, _of_one_size([decoded(jpeg) for jpeg in self.jpegs(positions)])


def _of_one_size(pictures: list[np.ndarray]) -> list[np.ndarray]:
    import cv2

    height, width = pictures[0].shape[:2]
    return [
        each if each.shape[:2] == (height, width) else cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA)
        for each in pictures
    ]

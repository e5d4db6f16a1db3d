"""Workers that look at the storyboard's pictures of each clip: measurements by models."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.declarations.stage import Work, Worker
from curate_resources.declarations.table import Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.media.storyboards import decoded

Pictures = Iterator[tuple[int, np.ndarray]]
"""The source's frame and the picture, uint8 [height, width, 3], RGB, of each that is looked at, decoded as they are
asked for; one at least."""


def over_pictures(
    table: Table, storage: Storage, frames_per_second: float, measured: Callable[[Pictures], Row]
) -> Worker:
    """A worker that makes one row per clip.

    Args:
        frames_per_second: see `Storyboard.sampled`.
        measured: the columns of a clip that are no keys.
    """

    def work(work: Work) -> Mapping[str, list[Row]]:
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])
        rows: list[Row] = []
        for clip in work.items.select(["video_id", "clip_id", "start_frame", "end_frame"]).to_pylist():
            board = boards.of(clip["video_id"])
            shown = board.sampled(clip["start_frame"], clip["end_frame"], frames_per_second)
            frames = (board.frames[position] for position in shown)
            pictures = zip(frames, map(decoded, board.jpegs(shown)), strict=True)
            rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], **measured(pictures)})
        return {table.name: rows}

    return work

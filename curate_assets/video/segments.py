"""How one long video is divided among scanners, and how lists of theirs become one."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from curate_resources.declarations.stage import SegmentsDisagree
from curate_resources.declarations.table import Row
from gpu_kernels.media.segments import Segment, segment, segment_count
from gpu_kernels.shots.transitions import CONTEXT_FRAMES


def segments_of(video: Row) -> int:
    """Into how many segments a row of source_videos is divided."""
    return segment_count(video["frames"], video["segment_pts_ns"] or ())


def segment_of(video: Row, index: int, count: int) -> Segment:
    """One of them."""
    return segment(index, count, video["first_pts_ns"], video["segment_pts_ns"], video["average_rate"])


def overlapping(segments: Sequence[pa.Table], column: str) -> np.ndarray:
    """One list of a list per segment, each of which has the context on either side of the segment, too.

    Raises:
        SegmentsDisagree: they are not the same where they overlap.
    """
    lists = [_values(rows, column) for rows in segments]
    for one, other in pairwise(lists):
        if not np.array_equal(one[-2 * CONTEXT_FRAMES :], other[: 2 * CONTEXT_FRAMES]):
            raise SegmentsDisagree(f"{column} differs where they overlap")
    first, *others = lists
    return np.concatenate([first, *(values[2 * CONTEXT_FRAMES :] for values in others)])


def appended(segments: Sequence[pa.Table], column: str) -> np.ndarray:
    """One list of a list per segment that has the segment's own values only."""
    return np.concatenate([_values(rows, column) for rows in segments])


def with_values(row: pa.Table, values: Mapping[str, Any]) -> pa.Table:
    """A table of one row with other values in some of its columns."""
    for name, value in values.items():
        place = row.schema.get_field_index(name)
        row = row.set_column(place, row.schema.field(place), pa.array([value], row.schema.field(place).type))
    return row


def _values(rows: pa.Table, column: str) -> np.ndarray:
    return rows[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)

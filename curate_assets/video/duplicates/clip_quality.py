"""Which of some clips is the best one: what a group of duplicates keeps its clip by."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.technical_quality import TECHNICAL_QUALITY
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.duplicates.selected_clips import SelectedClips, columns_of, looked_up
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.dedup.tiers import KeepBy
from gpu_kernels.shots.splitting import SECOND

Values = NDArray[np.float64]
"""[clips, values]: more is better, the first value counts first."""

_WITHOUT_BARS, _FOR_BARS = 0.97, 0.9
"""A picture that takes less of its frame has bars, and what is left of it counts for a tenth less: bars are measured to
some percent, and of two pictures of one size the one without them is better."""


def ranks(
    tables: Tables,
    clips: SelectedClips,
    places: NDArray[np.int64],
    group: NDArray[np.int32],
    keep_by: Sequence[KeepBy],
    whole: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """The rank of each of some clips, 0 for the best, by their qualities and then by id and shard.

    What is dear to look up is read only of clips that are equal to another one of their group so far.

    Args:
        places: int64 [n], of the clips.
        group: int32 [n], of each; ranks of two groups are never compared.
        whole: bool [n], of each, whether it shows in its whole frame what the others show.
    """
    ids = clips.rows.select(["clip_id", "shard"]).take(pa.array(places))
    by_id = np.empty(len(places), np.int64)
    by_id[pc.sort_indices(ids, [("clip_id", "ascending"), ("shard", "ascending")]).to_numpy()] = np.arange(len(places))  # pyright: ignore[reportAttributeAccessIssue]
    equal = group.astype(np.int64)
    for key in keep_by:
        _, which, counts = np.unique(equal, return_inverse=True, return_counts=True)
        (tied,) = np.nonzero(counts[which] > 1)
        if len(tied) == 0:
            break
        if key == "whole_frame":
            found = whole[tied, None].astype(np.float64)
        else:
            found = _QUALITIES[key](tables, clips.rows.take(pa.array(places[tied])))
        values = np.zeros((len(places), found.shape[1]))
        values[tied] = found
        order = np.lexsort((*(-values.T[::-1]), equal))
        ordered = np.column_stack([equal, values])[order]
        equal[order] = np.cumsum(np.concatenate([[False], (ordered[1:] != ordered[:-1]).any(axis=1)]))
    rank = np.empty(len(places), np.int64)
    rank[np.lexsort((by_id, equal))] = np.arange(len(places))
    return rank


def _of_videos(tables: Tables, clips: pa.Table, columns: list[str], value: Callable[[pa.Table], Values]) -> Values:
    videos = _rows(tables, SOURCE_VIDEOS, clips, "video_id", columns)
    found = looked_up(clips, videos, "video_id")
    values = value(videos)
    return np.where(found[:, None] >= 0, values[found] if len(values) else 0.0, 0.0)


def _resolution(tables: Tables, clips: pa.Table) -> Values:
    """Pixels of the picture, without black bars."""
    pixels = _of_videos(
        tables, clips, ["width", "height"], lambda rows: (_numbers(rows, "width") * _numbers(rows, "height"))[:, None]
    )
    shares = _picture_shares(tables, clips)
    return pixels * np.where(shares < _WITHOUT_BARS, _FOR_BARS * shares, 1)[:, None]


def _picture_shares(tables: Tables, clips: pa.Table) -> NDArray[np.float64]:
    """Of the frame of each clip, the share that is picture, the median over its samples; 1 where that is not known."""
    rows = _rows(tables, CLIPS, clips, "clip_id", ["start_frame", "end_frame"])
    span = looked_up(clips, rows, "clip_id").tolist()
    starts, ends = _numbers(rows, "start_frame"), _numbers(rows, "end_frame")
    of_video: dict[str, list[int]] = {}
    for place, video in enumerate(_key(clips, "video_id").to_pylist()):
        if span[place] >= 0:
            of_video.setdefault(video, []).append(place)
    found = np.ones(len(clips))
    where = _about(clips, "video_id")
    columns = ["shard", "video_id", "frames", "picture_shares"]
    for batch in tables.batches(PICTURE_HASHES, columns, where, _VIDEOS_AT_ONCE):
        for row, video in enumerate(_key(pa.table(batch), "video_id").to_pylist()):
            if video not in of_video or (shares := batch["picture_shares"][row].as_buffer()) is None:
                continue
            values = np.frombuffer(shares, np.uint8) / 255
            if values.min(initial=1) >= _WITHOUT_BARS:
                continue  # most videos have no bars anywhere
            frames = batch["frames"][row].values.to_numpy()
            for place in of_video[video]:
                first, last = np.searchsorted(frames, [starts[span[place]], ends[span[place]]])
                found[place] = np.median(values[first:last]) if first < last else 1
    return found


def _bitrate(tables: Tables, clips: pa.Table) -> Values:
    return _of_videos(
        tables,
        clips,
        ["bytes", "duration_ns"],
        lambda rows: (_numbers(rows, "bytes") * 8 * SECOND / np.maximum(_numbers(rows, "duration_ns"), 1))[:, None],
    )


def _technical_quality(tables: Tables, clips: pa.Table) -> Values:
    rows = _rows(tables, TECHNICAL_QUALITY, clips, "clip_id", ["blockiness", "noise"])
    found = looked_up(clips, rows, "clip_id")
    values = -np.column_stack([_numbers(rows, "blockiness"), _numbers(rows, "noise")])
    return np.where(found[:, None] >= 0, values[found] if len(values) else 0.0, -np.inf)


def _length(tables: Tables, clips: pa.Table) -> Values:
    rows = _rows(tables, CLIPS, clips, "clip_id", ["start_ns", "end_ns"])
    found = looked_up(clips, rows, "clip_id")
    lengths = _numbers(rows, "end_ns") - _numbers(rows, "start_ns")
    return np.where(found >= 0, lengths[found] if len(lengths) else 0.0, 0.0)[:, None]


def _sharpness(tables: Tables, clips: pa.Table) -> Values:
    """Means of the storyboard's frames in each clip."""
    rows = _rows(tables, CLIPS, clips, "clip_id", ["start_frame", "end_frame"])
    spans = looked_up(clips, rows, "clip_id")
    starts, ends = _numbers(rows, "start_frame"), _numbers(rows, "end_frame")
    boards = _rows(tables, STORYBOARDS, clips, "video_id", ["frame", "sharpness"])
    videos = _key(boards, "video_id").to_numpy(zero_copy_only=False)
    frames, sharp = _numbers(boards, "frame"), _numbers(boards, "sharpness")
    order = np.lexsort((frames, videos))
    videos, frames, sharp = videos[order], frames[order], np.concatenate([[0.0], np.cumsum(sharp[order])])
    own = _key(clips, "video_id").to_numpy(zero_copy_only=False)
    found = np.zeros((len(own), 1))
    firsts, lasts = np.searchsorted(videos, own), np.searchsorted(videos, own, "right")
    for place, span in enumerate(spans.tolist()):
        if span >= 0 and firsts[place] < lasts[place]:
            inside = firsts[place] + np.searchsorted(frames[firsts[place] : lasts[place]], [starts[span], ends[span]])
            if inside[0] < inside[1]:
                found[place] = (sharp[inside[1]] - sharp[inside[0]]) / (inside[1] - inside[0])
    return found


_QUALITIES: Mapping[KeepBy, Callable[[Tables, pa.Table], Values]] = {
    "resolution": _resolution,
    "bitrate": _bitrate,
    "technical_quality": _technical_quality,
    "length": _length,
    "sharpness": _sharpness,
}


def _rows(tables: Tables, table: Table, clips: pa.Table, key: str, columns: Collection[str]) -> pa.Table:
    """Of a table, the rows about some clips or their videos, and perhaps others."""
    return columns_of(tables, table, ["shard", key, *columns], _about(clips, key))


_NAMED = 10_000
"""Most names in a condition: of more, all rows are read."""
_VIDEOS_AT_ONCE = 1024
"""Whose samples are in memory together: an hour of video has 180 KB of these."""


def _about(clips: pa.Table, key: str) -> str:
    """The condition for rows about some clips or their videos, and perhaps others."""
    named = {name: set(clips[name].to_pylist()) for name in (key, "shard")}
    return " AND ".join(["status = 'ok'", *(one_of(name, some) for name, some in named.items() if len(some) <= _NAMED)])


def _numbers(rows: pa.Table, column: str) -> NDArray[np.float64]:
    """A column, 0 where it is null."""
    return pc.fill_null(rows[column].cast(pa.float64()), 0.0).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]


def _key(rows: pa.Table, name: str) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["shard"], rows[name], "/")  # pyright: ignore[reportAttributeAccessIssue]

"""The tracks of clips: those parts of what `picture_hashes` holds of their videos."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.duplicates.selected_clips import SelectedClips, Strings, columns_of, looked_up, unchanged
from curate_resources.declarations.table import Row
from curate_resources.tables.best_rows import ROW_ID, rows_by_id
from curate_resources.tables.evolution import as_declared
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.dedup.picture_hashes import BITS, GREY, VIEWS
from gpu_kernels.dedup.picture_track import PictureTrack

_SAMPLES = ("pts_ns", "frames", "hashes", "greys", "window_frames", "window_hashes", "window_greys")
_VIDEOS_AT_ONCE = 64
"""Videos whose rows are in memory together: an hour of video has some 9 MB of samples."""


def tracks(
    tables: Tables, clips: SelectedClips, measured: Strings, places: NDArray[np.int64]
) -> dict[int, PictureTrack]:
    """Tracks of clips, by place, in order; without those whose hashes are no more those that were measured, or that
    have no samples.

    Columns that are small are read once for all of these clips, whatever their shards: a reading costs more with every
    file of the table.

    Args:
        measured: of every clip, the fingerprint that its row of `picture_hashes` had before; null without a row.
        places: int64 [n].
    """
    places = places[measured.take(pa.array(places)).is_valid().to_numpy()]
    if len(places) == 0:
        return {}
    own = clips.rows.take(pa.array(places))
    shards = own["shard"].unique().to_pylist()
    named = ["shard", "clip_id", "start_frame", "end_frame", "end_ns"]
    spans = columns_of(tables, CLIPS, named, "status = 'ok'", shards)
    span = looked_up(own, spans, "clip_id")
    dataset = tables.dataset(PICTURE_HASHES.name)
    # Of one version, so that what is read by id is what has the fingerprint.
    videos = dataset.to_table(
        columns=["shard", "video_id", "fingerprint"],
        filter=f"status = 'ok' AND {one_of('shard', shards)}",
        with_row_id=True,
    )
    video = looked_up(own, videos, "video_id")
    same = unchanged(videos.take(pa.array(video, mask=video < 0)), places, measured)
    same = same[span[same] >= 0]
    of_video: dict[int, list[tuple[int, Row]]] = {}
    for place, row, clip in zip(
        places[same].tolist(), video[same].tolist(), spans.take(pa.array(span[same])).to_pylist(), strict=True
    ):
        of_video.setdefault(row, []).append((place, clip))
    found: dict[int, PictureTrack] = {}
    ids, every = videos[ROW_ID].to_numpy(), list(of_video)
    fields = [PICTURE_HASHES.schema.field(name) for name in _SAMPLES]
    for start in range(0, len(every), _VIDEOS_AT_ONCE):
        some = every[start : start + _VIDEOS_AT_ONCE]
        stored = rows_by_id(dataset, ids[some], tables.stored(dataset, PICTURE_HASHES, _SAMPLES))
        samples = as_declared(stored, fields, PICTURE_HASHES)
        for number, row in enumerate(some):
            found |= _of_video({name: samples[name][number] for name in _SAMPLES}, of_video[row])
    return {place: found[place] for place in sorted(found) if len(found[place])}


def _of_video(video: Mapping[str, pa.Scalar], clips: Sequence[tuple[int, Row]]) -> dict[int, PictureTrack]:
    """The tracks of clips of one video."""
    pts_ns, frames, window_frames = (_numbers(video[name]) for name in ("pts_ns", "frames", "window_frames"))
    window_times = pts_ns[np.searchsorted(frames, window_frames)]
    found: dict[int, PictureTrack] = {}
    for place, clip in clips:
        span, ends_ns = (clip["start_frame"], clip["end_frame"]), clip["end_ns"]
        found[place] = _track(span, ends_ns, frames, pts_ns, video["hashes"], video["greys"])
        if len(window_frames):
            window = _track(span, ends_ns, window_frames, window_times, video["window_hashes"], video["window_greys"])
            found[place] = replace(found[place], window=window if len(window) else None)
    return found


def _track(
    span: tuple[int, int],
    ends_ns: int,
    frames: NDArray[np.int64],
    pts_ns: NDArray[np.int64],
    hashes: pa.Scalar,
    greys: pa.Scalar,
) -> PictureTrack:
    """Of the samples in a span of frames. Copies them: a clip does not keep its whole video in memory."""
    first, last = np.searchsorted(frames, span)
    return PictureTrack(
        pts_ns[first:last].copy(),
        _bytes(hashes).reshape(-1, len(VIEWS), BITS // 8)[first:last].copy(),
        _bytes(greys).reshape(-1, *GREY)[first:last].copy(),
        ends_ns,
    )


def _numbers(values: pa.Scalar) -> NDArray[np.int64]:
    """None of what was measured before windows were looked for."""
    if not values.is_valid:
        return np.zeros(0, np.int64)
    return values.values.to_numpy().astype(np.int64, copy=False)


def _bytes(value: pa.Scalar) -> NDArray[np.uint8]:
    return np.frombuffer(value.as_buffer() if value.is_valid else b"", np.uint8)

"""Pairs of the tier `identical`: one clip in two shards, or clips all of whose frames decode alike."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.duplicates.pair_rows import PairRows
from curate_assets.video.duplicates.selected_clips import SelectedClips, Strings, columns_of, looked_up, unchanged
from curate_assets.video.duplicates.shard_index import ShardIndex, parts
from curate_resources.declarations.table import Row
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.segments import Segments

CONTENTS = "clip_contents"
"""The index of digests."""
_DIGEST = np.dtype("V16")


def identical_pairs(tables: Tables, clips: SelectedClips, shard: str, index: ShardIndex) -> list[Row]:
    """All pairs with a clip of a shard."""
    measured = clips.measured(tables, PICTURE_HASHES)
    own, digests = _frame_digests(tables, clips, measured, [shard])
    segments = Segments(tables.storage, CONTENTS)
    found: set[tuple[int, int]] = set()
    rows = PairRows(clips, measured)
    covered, rest = index.grown(segments, measured, lambda shards: _arrays(tables, clips, measured, shards))
    for part in parts(clips, [shard, *(each for each in rest if each != shard)]):
        places, others = _frame_digests(tables, clips, measured, part)
        order = np.argsort(others, kind="stable")
        found |= _equal(own, digests, places[order], others[order], rows)
    for each in covered:
        with segments.opened(each.segment) as arrays:
            others = np.ascontiguousarray(arrays["digests"]).view(_DIGEST).reshape(-1)
            places = each.places(arrays["rows"], clips.shards)
            found |= _equal(own, digests, places[places >= 0], others[places >= 0], rows)
    same = _named_alike(clips, shard, rows)
    about = {"tier": "identical", "similarity": 1.0, "verdict": "copy", "share_a": 1.0, "share_b": 1.0, "speed": 1.0}
    about |= {"mirrored": False}
    by_name = [
        # The id of a clip names its content: nothing else has to hold.
        rows.row(a, b, **about) | {"measured_a": clip_id, "measured_b": clip_id}
        for (a, b), clip_id in same.items()
    ]
    return [*by_name, *(rows.row(a, b, **about) for a, b in sorted(found - same.keys()))]


def _named_alike(clips: SelectedClips, shard: str, rows: PairRows) -> dict[tuple[int, int], str]:
    """Pairs with the same id, which has the content of the file in it."""
    places = clips.shards[shard]
    own = clips.rows["clip_id"].slice(places.start, len(places)).combine_chunks()
    which = pc.index_in(clips.rows["clip_id"], value_set=own)  # pyright: ignore[reportAttributeAccessIssue]
    number = pc.fill_null(which, -1).to_numpy().astype(np.int64)
    everywhere = np.flatnonzero(number >= 0)
    return {
        rows.first(places.start + one, other): own[one].as_py()
        for one, other in zip(number[everywhere].tolist(), everywhere.tolist(), strict=True)
        if places.start + one != other
    }


def _equal(
    own: NDArray[np.int64],
    digests: NDArray[np.void],
    places: NDArray[np.int64],
    ordered: NDArray[np.void],
    rows: PairRows,
) -> set[tuple[int, int]]:
    """Pairs of a clip of `own` and one of `places`, whose digests are in order, with the same digest."""
    first, last = np.searchsorted(ordered, digests), np.searchsorted(ordered, digests, "right")
    return {
        rows.first(int(own[one]), int(other))
        for one in np.flatnonzero(last > first).tolist()
        for other in places[first[one] : last[one]].tolist()
        if own[one] != other
    }


def _arrays(
    tables: Tables, clips: SelectedClips, measured: Strings, shards: Sequence[str]
) -> Mapping[str, NDArray[np.generic]] | None:
    """The digests of the clips of some shards, in order, and whose they are."""
    places, digests = _frame_digests(tables, clips, measured, shards)
    if len(places) == 0:
        return None
    order = np.argsort(digests, kind="stable")
    digests = np.frombuffer(digests[order].tobytes(), np.uint8).reshape(-1, _DIGEST.itemsize)
    return {"digests": digests, "rows": clips.rows_within(shards, places[order])}


def _frame_digests(
    tables: Tables, clips: SelectedClips, measured: Strings, shards: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Of the clips of some shards, a digest of 16 bytes of all their decoded frames; those without frames are left out.

    Returns:
        int64 [n] places, ascending, and their digests.
    """
    spans = columns_of(
        tables, CLIPS, ["shard", "video_id", "clip_id", "start_frame", "end_frame"], "status = 'ok'", shards
    )
    places = clips.places(spans["shard"], spans["clip_id"])
    spans, places = spans.filter(pa.array(places >= 0)), places[places >= 0]
    columns = ["shard", "video_id", "fingerprint", "frame_digests"]
    hashes = columns_of(tables, PICTURE_HASHES, columns, "status = 'ok' AND frame_digests IS NOT NULL", shards)
    video = looked_up(spans, hashes, "video_id")
    same = unchanged(hashes.take(pa.array(video, mask=video < 0)), places, measured)
    frames = hashes["frame_digests"].combine_chunks()
    spans, places, video = spans.take(pa.array(same)), places[same], video[same]
    found: dict[int, bytes] = {}  # in the order of places
    for place, row, start, end in zip(
        places.tolist(), video.tolist(), spans["start_frame"].to_pylist(), spans["end_frame"].to_pylist(), strict=True
    ):
        own = memoryview(frames[row].as_buffer())[8 * start : 8 * end]
        if len(own) == 8 * (end - start) > 0:
            found[place] = hashlib.blake2b(own, digest_size=_DIGEST.itemsize).digest()
    return np.array(list(found), np.int64), np.frombuffer(b"".join(found.values()), _DIGEST)

"""Pairs of the tier `picture`: spans of clips that show the same pictures in the same order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate_assets.video.assets.picture_hashes import PICTURE_HASHES
from curate_assets.video.duplicates.pair_rows import PairRows
from curate_assets.video.duplicates.picture_tracks import tracks
from curate_assets.video.duplicates.selected_clips import SelectedClips, Strings
from curate_assets.video.duplicates.shard_index import ShardIndex, parts
from curate_resources.declarations.table import Row
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.segments import Segments
from gpu_kernels.dedup.alignment import Match
from gpu_kernels.dedup.candidates import candidate_pairs, probed
from gpu_kernels.dedup.common_spans import common_spans
from gpu_kernels.dedup.hamming import as_words
from gpu_kernels.dedup.hash_bands import HashBands
from gpu_kernels.dedup.picture_hashes import BITS, MIRRORED, VIEWS
from gpu_kernels.dedup.picture_track import PictureTrack
from gpu_kernels.dedup.picture_views import JOINS, SIDES
from gpu_kernels.dedup.tiers import DuplicatePairsConfig

PICTURES = "clip_pictures"
"""The index of hashes."""
_AT_ONCE = 1000
"""Clips whose tracks are in memory together."""

Tracks = Mapping[int, PictureTrack]
"""By place of the clip."""
Hits = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Rows of two sets of probes that are alike, and the bits in which they differ."""


def picture_pairs(
    tables: Tables, clips: SelectedClips, shard: str, config: DuplicatePairsConfig, index: ShardIndex
) -> list[Row]:
    """All pairs with a clip of a shard: a row for each span that they share."""
    measured = clips.measured(tables, PICTURE_HASHES)
    segments = Segments(tables.storage, PICTURES)
    covered, rest = index.grown(segments, measured, lambda shards: _arrays(tables, clips, measured, shards))
    found: dict[tuple[int, int], list[Row]] = {}
    rows = PairRows(clips, measured)
    for own in _in_parts(tables, clips, measured, [shard]):
        probed = _Probes.of(own)

        def compare(pairs: NDArray[np.int64], others: Tracks, own: Tracks = own) -> None:
            every = {**others, **own}
            for one, other in pairs.tolist():
                a, b = rows.first(one, other)
                if (a, b) not in found and a in every and b in every:
                    found[a, b] = _rows(rows, a, b, every, config)

        for others in _in_parts(tables, clips, measured, rest):
            stored = _Probes.of(others)
            hits = probed.near(stored.bands(), config.radius_bits)
            compare(_candidates(probed, stored.clips, stored.samples, hits, config), others)
        for each in covered:
            with segments.opened(each.segment) as arrays:
                clips_of = each.places(arrays["rows"].astype(np.int64), clips.shards)
                hits = probed.near(_bands(arrays), config.radius_bits)
                pairs = _candidates(probed, clips_of, arrays["samples"], hits, config)
            for part in np.array_split(pairs, -(-len(pairs) // _AT_ONCE) or 1):
                compare(part, tracks(tables, clips, measured, np.setdiff1d(part, list(own))))
    return [row for each in found.values() for row in each]


@dataclass(frozen=True)
class _Probes:
    """Moments of clips that are looked up.

    Attributes:
        clips: int64 [n], of which clip each is, by place.
        samples: int32 [n], which sample of its track.
        hashes: uint8 [n, views, 32].
    """

    clips: NDArray[np.int64]
    samples: NDArray[np.int32]
    hashes: NDArray[np.uint8]

    @classmethod
    def of(cls, found: Tracks) -> "_Probes":
        chosen = {place: probed(track) for place, track in found.items()}
        empty = np.zeros((0, len(VIEWS), BITS // 8), np.uint8)
        return cls(
            np.repeat(np.array(list(chosen), np.int64), [len(samples) for samples, _ in chosen.values()]),
            np.concatenate([np.zeros(0, np.int32), *(samples for samples, _ in chosen.values())]).astype(np.int32),
            np.concatenate([empty, *(hashes for _, hashes in chosen.values())]),
        )

    def bands(self) -> list[HashBands]:
        """Those to look others up in, of each view."""
        return [HashBands.of(as_words(self.hashes[:, view])) for view in range(len(VIEWS))]

    def near(self, bands: Sequence[HashBands], radius: int) -> Iterator[Hits]:
        """The pairs of these and of what has such bands that are alike, in every way that pictures may be the same."""
        for join in JOINS:
            own, other = SIDES[join.view]
            hashes = self.hashes[:, own] ^ MIRRORED if join.mirrored else self.hashes[:, own]
            yield bands[other].near(as_words(hashes), radius)


def _candidates(
    own: _Probes,
    clips: NDArray[np.int64],
    samples: NDArray[np.int32],
    hits: Iterator[Hits],
    config: DuplicatePairsConfig,
) -> NDArray[np.int64]:
    """Pairs of places that are worth aligning.

    Args:
        clips, samples: of the probes that are asked, as of `_Probes`.
    """
    every = list(hits)
    row, column, bits = (np.concatenate([hit[part] for hit in every]) for part in range(3))
    there = clips[column] >= 0
    row, column, bits = row[there], column[there], bits[there]
    at, other = own.samples[row].astype(np.int64), samples[column].astype(np.int64)
    return candidate_pairs(own.clips[row], at, clips[column], other, bits, config.least_samples)


def _rows(rows: PairRows, a: int, b: int, found: Tracks, config: DuplicatePairsConfig) -> list[Row]:
    """The rows of a pair, one for each span."""
    matches = common_spans(found[a], found[b], config)
    shares: dict[str, tuple[float, float]] = {}
    for verdict in {match.verdict for match in matches}:
        own = [match for match in matches if match.verdict == verdict]
        share_a = _share([(match.start_a_ns, match.end_a_ns) for match in own], found[a])
        share_b = _share([(match.start_b_ns, match.end_b_ns) for match in own], found[b])
        shares[verdict] = share_a, share_b
    return [
        rows.row(a, b, tier="picture", **_about(match, number), share_a=shares[match.verdict][0])
        | {"share_b": shares[match.verdict][1]}
        for number, match in enumerate(matches)
    ]


def _about(match: Match, number: int) -> Row:
    about = {name: value for name, value in vars(match).items() if name != "bits"}
    return {**about, "span": number, "similarity": 1 - match.bits / BITS}


def _share(spans: Sequence[tuple[int, int]], track: PictureTrack) -> float:
    """How much of a clip spans cover together."""
    covered, reached = 0, int(track.times_ns[0])
    for start, end in sorted(spans):
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return min(1.0, covered / (track.end_of(-1) - int(track.times_ns[0])))


def _in_parts(tables: Tables, clips: SelectedClips, measured: Strings, shards: Sequence[str]) -> Iterator[Tracks]:
    """The tracks of all clips of some shards, so many at once."""
    for part in parts(clips, shards, _AT_ONCE):
        places = np.concatenate([np.arange(span.start, span.stop) for span in (clips.shards[each] for each in part)])
        for some in np.array_split(places, -(-len(places) // _AT_ONCE)):
            yield tracks(tables, clips, measured, some)


def _arrays(
    tables: Tables, clips: SelectedClips, measured: Strings, shards: Sequence[str]
) -> Mapping[str, NDArray[np.generic]] | None:
    """The probes of all clips of some shards, and their bands in every view."""
    every = [_Probes.of(part) for part in _in_parts(tables, clips, measured, shards)]
    whole = _Probes(
        *(np.concatenate([getattr(each, name) for each in every]) for name in ("clips", "samples", "hashes"))
    )
    if len(whole.clips) == 0:
        return None
    arrays: dict[str, NDArray[np.generic]] = {"rows": clips.rows_within(shards, whole.clips).astype(np.int32)}
    arrays["samples"] = whole.samples
    for view, bands in enumerate(whole.bands()):
        arrays |= {f"{name}_{view}": values for name, values in vars(bands).items()}
    return arrays


def _bands(arrays: Mapping[str, NDArray[np.generic]]) -> list[HashBands]:
    names = ("hashes", "keys", "order")
    return [HashBands.stored({name: arrays[f"{name}_{view}"] for name in names}) for view in range(len(VIEWS))]

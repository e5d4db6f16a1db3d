"""Which spans of one video are in another: the same pictures in the same order, maybe quicker, cropped or mirrored.

Two tracks of picture hashes are laid against each other in every view. Where hashes are near, a pair of moments votes
for the lines t_b = t_a / speed + offset through it (`time_lines`); the line with the most votes is fitted, and the run
of samples that it explains is a match. Its pairs of moments are taken out, and the next line is looked for.

Nearness alone does not tell a copy from another moment before a camera that stands still: what moves has to move alike,
too (`moving_parts`). Where nothing moves, nobody can tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.dedup.hamming import as_words, near_hashes
from gpu_kernels.dedup.moving_parts import as_seen, changes, motion_correlation, plain
from gpu_kernels.dedup.picture_hashes import VIEWS
from gpu_kernels.dedup.picture_track import TRACK_STEP_NS, PictureTrack
from gpu_kernels.dedup.picture_views import JOINS, SIDES, SWAPPED, Join, View
from gpu_kernels.dedup.time_lines import Hits, Line, Times, best_line, distance, fitted, nearest, runs
from gpu_kernels.strict import StrictModel

Verdict = Literal["copy", "same_static_picture", "undecidable"]
InWindow = Literal["a", "b", "both"]
"""Which of two videos shows what they have in common in a window."""

_MOVES_ALIKE_AT_LEAST = 0.3
_RECODED = 16
"""Bits of which a second encoding changes at most so many in three frames of four."""
_OF_FEW = 5
"""That a moment is near more others than that tells less the more they are: then what moves decides."""
_MOST_LINES = 16
"""Lines that are looked at in a pair of tracks."""
_MOST_HITS = 1 << 21
"""Where more pairs of moments are alike, fewer moments of one track are looked at, which bounds memory and time."""


class AlignmentConfig(StrictModel):
    """What counts as the same span. All thresholds were measured: docs/dedup.md."""

    radius_bits: int = Field(default=64, ge=0, le=100)
    """Two moments show the same where at most this many of 256 bits of their hashes differ."""
    least_samples: int = Field(default=2, ge=1)
    """Two clips are laid against each other where so many of five moments a second of either have one in the other, or
    where one of them is nearly the same (16 bits)."""
    least_seconds: float = Field(default=1.0, gt=0)
    """Spans that are shorter, in either video, are no matches."""
    most_speed: float = Field(default=1.16, ge=1)
    """How much quicker one may play than the other."""
    gap_seconds: float = Field(default=1.0, ge=0)
    """A span may be interrupted for this long, by a flash or a title."""
    least_motion_correlation: float = Field(default=0.75, gt=-1, le=1)
    """What moves in copies moves alike: the least correlation, less its standard error."""
    least_motion: float = Field(default=1.0, ge=0)
    """Grey levels (root mean square) by which a picture changes; below it nothing moves."""
    changing_bits: int = Field(default=44, ge=0, le=256)
    """Where at least so many bits are others a second later, and far fewer differ between the spans, hashes tell the
    moment, and what moves need not be as much alike (0.3): a crop or a title makes it less so."""


@dataclass(frozen=True)
class Match:
    """A span of one video that is in another one.

    Attributes:
        start_a_ns, end_a_ns, start_b_ns, end_b_ns: presentation times, the ends exclusive.
        speed: how many times quicker b plays.
        view, mirrored: of which part of the pictures, and whether one is the other's mirror image.
        bits: mean of the bits of 256 that differ.
        motion_correlation: of what moves, less its standard error, -1 to 1; None where nothing does.
        verdict: whether it is a copy, another moment before a camera that stands still, or nobody can tell.
        window: whose pictures are those in its windows; None: the frames are compared.
    """

    start_a_ns: int
    end_a_ns: int
    start_b_ns: int
    end_b_ns: int
    speed: float
    view: View
    mirrored: bool
    bits: float
    motion_correlation: float | None
    verdict: Verdict
    window: InWindow | None = None

    def swapped(self) -> "Match":
        """The same, a and b exchanged."""
        return replace(
            self,
            start_a_ns=self.start_b_ns,
            end_a_ns=self.end_b_ns,
            start_b_ns=self.start_a_ns,
            end_b_ns=self.end_a_ns,
            speed=1 / self.speed,
            view=SWAPPED[self.view],
            window=OTHER_WINDOW[self.window],
        )


OTHER_WINDOW: dict[InWindow | None, InWindow | None] = {None: None, "a": "b", "b": "a", "both": "both"}


def align(a: PictureTrack, b: PictureTrack, config: AlignmentConfig | None = None) -> list[Match]:
    """All spans of `a` that are in `b`, ordered by their start in `a`, then in `b`. Windows are not looked into.

    A function of the pair: the same two tracks give the same matches, and in the other order the same ones swapped.
    The cost grows with the product of their lengths, and with how many of their moments are alike.
    """
    config = config or AlignmentConfig()
    if len(a) == 0 or len(b) == 0:
        return []
    turned = _order(a) > _order(b)
    found = (_Alignment(b, a, config) if turned else _Alignment(a, b, config)).matches()
    matches = [match.swapped() for match in found] if turned else found
    return sorted(matches, key=lambda each: (each.start_a_ns, each.start_b_ns, each.end_a_ns, each.end_b_ns))


def _order(track: PictureTrack) -> tuple[object, ...]:
    """Which of two is `a` within: the one with fewer samples a second, because each has to find a partner."""
    lasts = track.times_ns[-1] - track.times_ns[0] + TRACK_STEP_NS
    return len(track) / int(lasts), len(track), track.hashes.tobytes(), track.greys.tobytes(), track.times_ns.tobytes()


@dataclass
class _Look:
    """The two tracks in one view: pairs of moments that are alike and in no match yet, and their best line."""

    join: Join
    hits: Hits
    line: Line | None = None

    def without(self, taken: NDArray[np.bool_]) -> None:
        if taken.any():
            self.hits, self.line = self.hits[~taken], None


class _Alignment:
    """Of two tracks, the sparser one first."""

    def __init__(self, a: PictureTrack, b: PictureTrack, config: AlignmentConfig) -> None:
        a = _thinned(a, b, config.radius_bits)
        self._a, self._b, self._config = a, b, config
        self._times = Times(_seconds(a), _seconds(b), _step(b))
        self._looks = [look for look in self._all_looks() if len(look.hits)]

    def matches(self) -> list[Match]:
        found: list[Match] = []
        least_votes = self._config.least_seconds / self._times.step / 8
        for _ in range(_MOST_LINES):
            for look in self._looks:
                look.line = look.line or best_line(look.hits, self._times, self._config.most_speed)
            lines = [(look.line.votes, look) for look in self._looks if look.line and look.line.votes >= least_votes]
            if not lines:
                break
            look = max(lines, key=lambda each: each[0])[1]
            for match in self._along_best_line(look):
                sure = (match.motion_correlation or 0) >= self._config.least_motion_correlation
                if sure or not any(overlap(match, other) for other in found):
                    found.append(match)
                    self._take_out(match)
            self._looks = [each for each in self._looks if len(each.hits)]
        return found

    def _along_best_line(self, look: _Look) -> list[Match]:
        """The matches along a view's best line, whose hits are taken out."""
        assert look.line is not None
        hits, times = look.hits, self._times
        line = fitted(look.line, hits, times, self._config.most_speed)
        bits = nearest(line, hits, times)
        matches = [
            self._match(look, line, first, last, bits[first : last + 1])
            for first, last in runs(bits >= 0, round(self._config.gap_seconds / max(times.step, _step(self._a))))
            if times.a[last] - times.a[first] + times.step >= self._config.least_seconds
        ]
        look.without(distance(line, hits, times) <= 1.5 * times.step)
        return [match for match in matches if match is not None]

    def _take_out(self, match: Match) -> None:
        for look in self._looks:
            rows, columns = self._a.times_ns[look.hits.rows], self._b.times_ns[look.hits.columns]
            within = (rows >= match.start_a_ns) & (rows < match.end_a_ns)
            look.without(within & (columns >= match.start_b_ns) & (columns < match.end_b_ns))

    def _all_looks(self) -> Iterator[_Look]:
        a, b, config = self._a, self._b, self._config
        telling_a, telling_b = (np.flatnonzero(~plain(each.greys)) for each in (a, b))
        for join in JOINS:
            hashes_a, hashes_b = join.hashes(a.hashes[telling_a], b.hashes[telling_b])
            rows, columns, bits = near_hashes(as_words(hashes_a), as_words(hashes_b), config.radius_bits)
            if len(rows) == 0:
                continue
            rows, columns = telling_a[rows], telling_b[columns]
            own, other = (VIEWS[side] for side in SIDES[join.view])
            moving_a = changes(as_seen(a.greys, own, False), config.least_motion)
            moving_b = changes(as_seen(b.greys, other, join.mirrored), config.least_motion)
            alike = np.empty(len(rows))
            for at in range(0, len(rows), 1 << 16):
                part = slice(at, at + (1 << 16))
                alike[part] = np.einsum("nd,nd->n", moving_a[rows[part]], moving_b[columns[part]])
            many = np.sqrt(np.bincount(rows)[rows] * np.bincount(columns)[columns])
            telling = _OF_FEW / np.maximum(_OF_FEW, many)
            weights = np.maximum((1 - bits / (config.radius_bits + 1)) * telling + alike, 0)
            yield _Look(join, Hits(rows, columns, bits, weights))

    def _match(self, look: _Look, line: Line, first: int, last: int, bits: NDArray[np.int64]) -> Match | None:
        """The run of samples first to last of `a` along a line; None where too few of them have a partner, or the
        partners are too short a span."""
        config, times, hits = self._config, self._times, look.hits
        side_a, side_b = SIDES[look.join.view]
        near = bits[bits >= 0]
        between = (bits < 0) & _passing(self._a.hashes[:, side_a], config.radius_bits)[first : last + 1]
        if len(near) < max(3, (len(bits) - between.sum()) / 2, len(bits) / 4):
            return None
        along = (hits.rows >= first) & (hits.rows <= last) & (distance(line, hits, times) <= times.step / 2)
        if not along.any():
            return None
        own, others = (slice(int(each.min()), int(each.max()) + 1) for each in (hits.rows[along], hits.columns[along]))
        if times.b[others.stop - 1] - times.b[others.start] + times.step < config.least_seconds:
            return None  # at a high speed the other side has little, and little is soon near to something
        correlation = motion_correlation(
            as_seen(self._a.greys[own], VIEWS[side_a], False),
            as_seen(self._b.greys[others], VIEWS[side_b], look.join.mirrored),
            line(times.a[own]),
            times.b[others],
            config.least_motion,
        )
        changed = min(_changed(self._a.hashes[own, side_a]), _changed(self._b.hashes[others, side_b]))
        verdict = _verdict(float(near.mean()), changed, correlation, config)
        start_a, start_b = int(self._a.times_ns[own][0]), int(self._b.times_ns[others][0])
        end_a, end_b = self._a.end_of(own.stop - 1), self._b.end_of(others.stop - 1)
        return Match(start_a, end_a, start_b, end_b, line.speed, *look.join, float(near.mean()), correlation, verdict)


def _thinned(a: PictureTrack, b: PictureTrack, radius: int) -> PictureTrack:
    """Every so many samples of `a` only, where nearly all of two long tracks is alike."""
    some_a, some_b = (each.hashes[:: len(each) // 128 + 1, 0] for each in (a, b))
    near = len(near_hashes(as_words(some_a), as_words(some_b), radius)[0])
    expected = near / (len(some_a) * len(some_b)) * len(a) * len(b)
    every = int(expected // _MOST_HITS) + 1
    return PictureTrack(a.times_ns[::every], a.hashes[::every], a.greys[::every], a.ends_ns)


def _verdict(bits: float, changed: float, correlation: float | None, config: AlignmentConfig) -> Verdict:
    """Of a match: by what moves, and where the picture soon becomes another one, by the hashes, too.

    Args:
        bits: that differ along the line.
        changed: bits by which a picture differs from the one a second later.
    """
    if correlation is None:
        return "undecidable"
    by_hashes = (
        changed >= config.changing_bits and bits <= (changed - _RECODED) / 2 and correlation >= _MOVES_ALIKE_AT_LEAST
    )
    return "copy" if by_hashes or correlation >= config.least_motion_correlation else "same_static_picture"


def _seconds(track: PictureTrack) -> NDArray[np.float64]:
    return (track.times_ns - track.times_ns[0]) / 1e9


def _step(track: PictureTrack) -> float:
    """Seconds from a sample to the next."""
    return max(TRACK_STEP_NS, float(np.median(np.diff(track.times_ns))) if len(track) > 1 else 0) / 1e9


def _changed(hashes: NDArray[np.uint8]) -> float:
    """By how many bits a picture differs from that a second later, or half the span, median."""
    lag = min(1_000_000_000 // TRACK_STEP_NS, len(hashes) // 2)
    if lag == 0:
        return 0.0
    return float(np.median(np.bitwise_count(hashes[lag:] ^ hashes[:-lag]).sum(1)))


def _passing(hashes: NDArray[np.uint8], radius: int) -> NDArray[np.bool_]:
    """Which samples, uint8 [n, 32], are like neither of those beside them: where another track was sampled half a step
    away, they have no partner."""
    far = np.bitwise_count(hashes[1:] ^ hashes[:-1]).sum(1) > radius
    return np.append(far, True) & np.insert(far, 0, True)


def overlap(one: Match, other: Match) -> bool:
    """Whether more than half of a match is taken by another on either side."""
    a = min(one.end_a_ns, other.end_a_ns) - max(one.start_a_ns, other.start_a_ns)
    b = min(one.end_b_ns, other.end_b_ns) - max(one.start_b_ns, other.start_b_ns)
    return 2 * a > one.end_a_ns - one.start_a_ns or 2 * b > one.end_b_ns - one.start_b_ns

"""Which spans of one video are in another, be they as a whole frame or in a window."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from gpu_kernels.dedup.alignment import AlignmentConfig, InWindow, Match, align, overlap
from gpu_kernels.dedup.picture_track import PictureTrack


def common_spans(a: PictureTrack, b: PictureTrack, config: AlignmentConfig | None = None) -> list[Match]:
    """All spans of `a` that are in `b`, as `align` finds them: of the frames, and of what their windows show.

    Of two ways in which a span is the same, a copy counts rather than another moment, and then the way that fewer bits
    tell apart.
    """
    found: list[Match] = []
    for match in sorted(_in_all_ways(a, b, config), key=_rank):
        if not any(match.window != other.window and overlap(match, other) for other in found):
            found.append(match)
    return sorted(found, key=lambda each: (each.start_a_ns, each.start_b_ns, each.end_a_ns, each.end_b_ns))


_WINDOWS: dict[tuple[bool, bool], InWindow] = {(True, False): "a", (False, True): "b", (True, True): "both"}


def _in_all_ways(a: PictureTrack, b: PictureTrack, config: AlignmentConfig | None) -> Iterator[Match]:
    for in_a, in_b in product((False, True), repeat=2):
        own, other = a.window if in_a else a, b.window if in_b else b
        if own is not None and other is not None:
            for match in align(own, other, config):
                yield replace(match, window=_WINDOWS.get((in_a, in_b)))


def _rank(match: Match) -> tuple[object, ...]:
    """Smaller is better; the same with a and b exchanged."""
    spans = sorted([(match.start_a_ns, match.end_a_ns), (match.start_b_ns, match.end_b_ns)])
    return match.verdict != "copy", match.bits, spans

"""How well copies are found: copies of every kind are made of real footage, and laid against all originals.

    python benchmarks/copies.py                              # of the footage that packages ship, and of ../shared/media
    python benchmarks/copies.py --media FOLDER --docs        # the tables go into docs/dedup.md and docs/benchmarks.md
    python benchmarks/copies.py --scratch build/copies       # keeps what was encoded and decoded, and goes on from it

Goes through the kernels alone: thumbnails of a decode, their hashes, candidates, alignment; and the default embedder
for the tier of meaning. A pair counts as found where a span that is called a copy lies where the copy was made.
"""

# pyright: basic

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from copies_chart import Distances, chart
from floors import write_figures
from made_copies import KINDS, STATIC_FILMS, WINDOWED, Copy, Kind, made, master
from proofs.proof import packaged_footage
from seen_copies import Seen, seen

from gpu_kernels.dedup.alignment import AlignmentConfig, Match
from gpu_kernels.dedup.candidates import candidate_pairs, probed
from gpu_kernels.dedup.common_spans import common_spans
from gpu_kernels.dedup.hamming import as_words
from gpu_kernels.dedup.hash_bands import HashBands
from gpu_kernels.dedup.picture_track import PictureTrack
from gpu_kernels.dedup.picture_views import JOINS

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared" / "media"
DOCS = HERE.parent / "docs"
NEAR_S = 0.5
"""How far a span may be off and still be the right one."""
MEANING = 0.88
"""Cosine similarity from which clips are said to mean the same."""
MOMENT_SECONDS, MOST_SECONDS = 8, 60
CONFIG = AlignmentConfig()


@dataclass
class Told:
    """What was said of the copies of one kind.

    Attributes:
        films, found, undecided: copies, those found where they are, and those of which nothing moves.
        identical, meaning: those of the tiers beside.
        false: copies of other films that were called one.
        misplaced: spans called copies that are elsewhere in the right film.
        offsets, covered: of those found, seconds that the span is off, and the share of the copy that is covered.
    """

    films: int = 0
    candidates: int = 0
    found: int = 0
    undecided: int = 0
    identical: int = 0
    meaning: int = 0
    meaning_false: int = 0
    false: int = 0
    misplaced: int = 0
    offsets: list[float] = field(default_factory=list)
    covered: list[float] = field(default_factory=list)

    def row(self, name: str) -> str:
        shown = "-", "-", "-"
        if self.offsets:
            shown = (
                f"{np.median(self.offsets):.2f}",
                f"{np.percentile(self.offsets, 90):.2f}",
                f"{np.median(self.covered):.0%}",
            )
        told = (self.films, self.identical, self.found, self.undecided, self.false, self.misplaced, *shown)
        return f"| {' | '.join(map(str, (name, *told, self.meaning, self.meaning_false)))} |"


HEADS = (
    "| copies | films | identical | picture: found | undecidable | wrong film | wrong place | off by s, median "
    "| 9 of 10 | covered | meaning: found | wrong film |\n|---|" + "---:|" * 11
)


@dataclass
class Costs:
    """CPU seconds and pairs, of those that have something in common and of others."""

    related: list[float] = field(default_factory=list)
    unrelated: list[float] = field(default_factory=list)


def footage(folders: Sequence[Path]) -> dict[str, Path]:
    """Films by name; distorted copies are left out."""
    files = packaged_footage() + [path for folder in folders for path in sorted(folder.glob("*.mp4"))]
    return {path.stem: path for path in files if "distorted" not in path.stem}


def near_clips(one: PictureTrack, others: Sequence[PictureTrack]) -> set[int]:
    """Which of the others are worth laying against it."""
    own, asked_hashes = probed(one)
    hits: list[tuple[np.ndarray, ...]] = []
    for number, other in enumerate(others):
        theirs, stored_hashes = probed(other)
        for join in JOINS:
            asked, stored = join.hashes(asked_hashes, stored_hashes)
            rows, columns, bits = HashBands.of(as_words(stored)).near(as_words(asked), CONFIG.radius_bits)
            hits.append((np.full(len(rows), -1), own[rows], np.full(len(rows), number), theirs[columns], bits))
    own_clips, own_samples, clips, samples, bits = (np.concatenate(each) for each in zip(*hits, strict=True))
    pairs = candidate_pairs(own_clips, own_samples, clips, samples, bits, CONFIG.least_samples)
    return set(pairs[:, 1].tolist())


def placed(match: Match, copy: Copy) -> tuple[float, float]:
    """Seconds by which a span is off where the copy was made, and the share of the copy that it covers."""
    start, end, there, there_end = copy.spans
    slope = (there_end - there) / (end - start)
    off = max(
        abs(there + (a / 1e9 - start) * slope - b / 1e9)
        for a, b in ((match.start_a_ns, match.start_b_ns), (match.end_a_ns, match.end_b_ns))
    )
    common = min(match.end_b_ns / 1e9, there_end) - max(match.start_b_ns / 1e9, there)
    return off, max(0.0, common) / (there_end - there)


def judged(
    kind: Kind, copy: Copy, copied: Seen, originals: Mapping[str, Seen], host: str, told: Told, costs: Costs
) -> None:
    """Lay a copy against all originals."""
    names = list(originals)
    near = near_clips(copied.track, [originals[name].track for name in names])
    told.films += 1
    told.candidates += names.index(copy.original) in near
    told.identical += copied.digest == originals[copy.original].digest
    told.meaning += float(copied.vector @ originals[copy.original].vector) >= MEANING
    for number, name in enumerate(names):
        own = name == copy.original
        if not own and name != host:
            told.meaning_false += float(copied.vector @ originals[name].vector) >= MEANING
        before = time.process_time()
        matches = common_spans(originals[name].track, copied.track, CONFIG)
        cost = time.process_time() - before
        related = own or (name == host and kind.segment is not None)
        (costs.related if related else costs.unrelated).append(cost)
        copies = [match for match in matches if match.verdict == "copy" and number in near]
        if not own:
            told.false += bool(copies) and not related
            continue
        places = [placed(match, copy) for match in copies]
        right = [each for each in places if each[0] <= NEAR_S]
        told.misplaced += len(places) - len(right)
        if right:
            told.found += 1
            told.offsets.append(max(off for off, _ in right))
            told.covered.append(min(1.0, sum(share for _, share in right)))
        else:
            told.undecided += any(match.verdict == "undecidable" for match in matches)


def moments(films: Mapping[str, Path], scratch: Path) -> tuple[list[str], dict[str, int]]:
    """Pairs of other moments before one camera that stands still, and what they are called: a table's rows, totals."""
    rows, totals = [], {"pairs": 0, "copy": 0, "same_static_picture": 0, "undecidable": 0, "nothing": 0}
    for name in STATIC_FILMS:
        if name not in films:
            continue
        track = seen(films[name], scratch / f"{name}.long.npz", MOST_SECONDS).track
        starts = np.arange(0, track.times_ns[-1] / 1e9 - MOMENT_SECONDS + 0.2, MOMENT_SECONDS)
        parts = [track.between(round(at * 1e9), round((at + MOMENT_SECONDS) * 1e9)) for at in starts]
        said = dict.fromkeys(totals, 0)
        for one, other in combinations(parts, 2):
            verdicts = {match.verdict for match in common_spans(one, other, CONFIG)}
            first = next(
                (each for each in ("copy", "same_static_picture", "undecidable") if each in verdicts), "nothing"
            )
            said["pairs"] += 1
            said[first] += 1
        rows.append(f"| {name} | {' | '.join(map(str, said.values()))} |")
        totals = {key: totals[key] + said[key] for key in totals}
    return rows, totals


def between(page: Path, mark: str, text: str) -> None:
    """Put a text between the two marks of a page.

    Raises:
        SystemExit: the page has no place for it.
    """
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    changed, places = re.subn(f"(?<={start}).*?(?={end})", lambda _: text + "\n", page.read_text(), flags=re.DOTALL)
    if places != 1:
        raise SystemExit(f"{page} should have one line {start.strip()}, and one {end} after it")
    page.write_text(changed)


def figures_of(told: Mapping[str, Told], totals: Mapping[str, int], false_originals: int) -> dict[str, float]:
    """What floors.yaml speaks of."""

    def recall(kinds: Sequence[Kind]) -> float:
        return sum(told[kind.name].found for kind in kinds) / sum(told[kind.name].films for kind in kinds)

    whole = [kind for kind in KINDS if kind.segment is None and kind not in WINDOWED]
    offsets = [off for each in told.values() for off in each.offsets]
    found, false = (sum(getattr(each, name) for each in told.values()) for name in ("found", "false"))
    return {
        "precision": found / max(1, found + false),
        "recall_whole": recall(whole),
        "recall_whole_least": min(recall([kind]) for kind in whole),
        "recall_5_s": recall([kind for kind in KINDS if kind.segment == 5]),
        "recall_2_s": recall([kind for kind in KINDS if kind.segment == 2]),
        "recall_in_a_window": recall([kind for kind in WINDOWED if "40" not in kind.name and "50" not in kind.name]),
        "recall_in_a_small_window": recall([kind for kind in WINDOWED if "40" in kind.name or "50" in kind.name]),
        "identical_told": sum(told[kind.name].identical for kind in KINDS[:2])
        / sum(told[kind.name].films for kind in KINDS[:2]),
        "identical_false": sum(told[kind.name].identical for kind in KINDS[2:]),
        "candidates": sum(each.candidates for each in told.values()) / sum(each.films for each in told.values()),
        "misplaced_share": sum(each.misplaced for each in told.values()) / max(1, found),
        "offset_median_s": float(np.median(offsets)),
        "offset_of_nine_tenths_s": float(np.percentile(offsets, 90)),
        "originals_called_copies": false_originals,
        "moments": totals["pairs"],
        "moments_called_copies": totals["copy"],
    }


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, action="append", help="folder with more footage (.mp4)")
    parser.add_argument("--scratch", type=Path, help="folder for what is made; else it is thrown away")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", action="store_true", help="write the tables, and the chart, into docs")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    folders = given.media if given.media is not None else [SHARED / "single", SHARED / "cuts"]
    with tempfile.TemporaryDirectory() as thrown_away:
        scratch = given.scratch or Path(thrown_away)
        (scratch / "masters").mkdir(parents=True, exist_ok=True)
        films = footage(folders)
        masters = [master(path, scratch / "masters") for path in films.values()]
        originals = {path.stem: seen(path, path.with_suffix(".npz")) for path in masters}
        distances = Distances()
        false_originals, meaning_originals = 0, 0
        for one, other in combinations(originals.values(), 2):
            false_originals += any(match.verdict == "copy" for match in common_spans(one.track, other.track, CONFIG))
            meaning_originals += float(one.vector @ other.vector) >= MEANING
            distances.other_film(one.track, other.track)
        told: dict[str, Told] = {}
        costs = Costs()
        print(HEADS)
        for index, kind in enumerate(KINDS):
            told[kind.name] = Told()
            for number, path in enumerate(masters):
                host = masters[(number + 7) % len(masters)]
                random = np.random.default_rng([given.seed, index, number])
                copy = made(kind, path, host, scratch / str(index), random)
                copied = seen(copy.path, scratch / str(index) / f"{copy.original}.npz")
                judged(kind, copy, copied, originals, host.stem, told[kind.name], costs)
                if kind.segment is None and kind.speed == 1 and kind not in WINDOWED:
                    distances.copy(originals[copy.original].track, copied.track, "mirrored" in kind.name, kind.name)
            print(told[kind.name].row(kind.name), flush=True)
        rows, totals = moments(films, scratch)
        for name in STATIC_FILMS:
            if name in films:
                distances.other_moments(seen(films[name], scratch / f"{name}.long.npz", MOST_SECONDS).track)
    table = "\n".join([HEADS, *(each.row(name) for name, each in told.items())])
    heads = (
        "| static film | pairs of moments | copy | same static picture | undecidable | nothing in common |\n|---|"
        + "---:|" * 5
    )
    static = "\n".join([heads, *rows])
    figures = figures_of(told, totals, false_originals)
    pairs = len(originals) * (len(originals) - 1) // 2
    cost = (
        f"CPU time of one alignment of 8 s with 8 s, one thread: {1e3 * np.mean(costs.related):.1f} ms where they have "
        f"something in common, {1e3 * np.mean(costs.unrelated):.1f} ms where not."
    )
    among = (
        f"Among the {len(originals)} originals ({pairs} pairs) {false_originals} are called copies of each other, and "
        f"{meaning_originals} mean the same at a cosine of {MEANING}."
    )
    print(f"\n{static}\n\n{among}\n{cost}\n{figures}")
    if given.docs:
        between(DOCS / "dedup.md", "copies", f"{table}\n\n{among}\n\n{static}")
        between(DOCS / "benchmarks.md", "copies", f"{cost}\n\n{summary(figures)}")
        (DOCS / "images" / "copies.svg").write_text(chart(distances))
    write_figures(given.json, __file__, figures)
    return 0


def summary(figures: Mapping[str, float]) -> str:
    """A table of the figures."""
    lines = [f"| {name.replace('_', ' ')} | {value:.3g} |" for name, value in figures.items()]
    return "\n".join(["| | |", "|---|---:|", *lines])


if __name__ == "__main__":
    sys.exit(main())

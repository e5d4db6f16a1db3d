"""How many labels a threshold takes, on made scores whose truth is known, and how often the stated bounds hold it.

    python benchmarks/labels.py                 # 40 seeds each
    python benchmarks/labels.py --docs          # the table goes into docs/calibration.md

What makes 20,000 clips good is their score and noise; of some it is the contrary. Of each case: F1 of the threshold
that 200 labels find, and of the tenth percentile; how often bounds at 95 % hold the truth; and how many labels it takes
until precision and recall are known to 5 % to each side.
"""

# pyright: basic

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from floors import write_figures

from gpu_kernels.scores.labelled_threshold import Goals, LabelledScores

PAGE = Path(__file__).resolve().parent.parent / "docs" / "calibration.md"
START, END = "<!-- labels -->", "<!-- end of labels -->"
CLIPS, LABELS, MOST = 20_000, 200, 1_000
GOOD, NOISE, WRONG = (0.1, 0.3, 0.6, 0.8, 0.95), (0.1, 0.5, 1.0), (0.0, 0.05)


@dataclass(frozen=True)
class Outcome:
    """Of one seed: precision and recall by the labels, by the tenth percentile, and whether bounds hold them."""

    found: tuple[float, float]
    percentile: tuple[float, float]
    holds: tuple[bool, bool]
    needed: int


def made(seed: int, good: float, noise: float, wrong: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and which clips are to be kept."""
    chance = np.random.default_rng(seed)
    scores = chance.normal(size=CLIPS)
    truly = scores + noise * chance.normal(size=CLIPS)
    return scores, (truly >= np.quantile(truly, 1 - good)) ^ (chance.random(CLIPS) < wrong)


def rates(keeps: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Precision and recall."""
    both = (keeps & truth).sum()
    return float(both / keeps.sum()), float(both / truth.sum())


def harmonic(of: tuple[float, float]) -> float:
    """F1."""
    return 2 * of[0] * of[1] / (of[0] + of[1])


def labelled(seed: int, good: float, noise: float, wrong: float) -> Outcome:
    """Label clips as the truth has it: 200, and on until the margin is reached."""
    scores, truth = made(seed, good, noise, wrong)
    asked = LabelledScores(scores, "low", np.random.default_rng(seed + 1).random(CLIPS), lambda x: float(f"{x:.4g}"))
    labels, nobody, goals = np.full(CLIPS, np.nan), np.zeros(CLIPS, bool), Goals()
    found, needed, told = None, 0, 0
    for count in (*range(20, LABELS, 20), *range(LABELS, MOST + 1, 50)):
        for clip in asked.asked_next(labels, nobody, count - told, goals):
            labels[clip] = truth[clip]
        so_far, told = asked.found(labels, goals), count
        found = so_far if count == LABELS else found
        needed = count if not needed and so_far.enough else needed
        if needed and found:
            break
    assert found is not None
    keeps = scores.astype(np.float32) >= np.float32(-np.inf if found.threshold is None else found.threshold)
    real = rates(keeps, truth)
    holds = (
        found.precision.low <= real[0] <= found.precision.high,
        found.recall.low <= real[1] <= found.recall.high,
    )
    return Outcome(real, rates(scores >= np.percentile(scores, 10), truth), holds, needed or MOST)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/calibration.md")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    heads = (
        "to be kept",
        "noise",
        "contrary",
        "F1 of the 10th percentile",
        "F1 of 200 labels",
        "bounds hold precision, recall, both",
        "labels for ±5 %: median, 9 of 10",
    )
    lines = [f"| {' | '.join(heads)} |", f"|{'---:|' * len(heads)}"]
    every, gains = [], []
    for good in GOOD:
        for noise in NOISE:
            for wrong in WRONG:
                each = [labelled(seed, good, noise, wrong) for seed in range(options.seeds)]
                holds = np.array([one.holds for one in each])
                needed = [one.needed for one in each]
                f1 = [float(np.mean([harmonic(getattr(one, by)) for one in each])) for by in ("percentile", "found")]
                shown = [f"over {MOST}" if one >= MOST else f"{one:.0f}" for one in np.percentile(needed, (50, 90))]
                shares = ", ".join(f"{one:.2f}" for one in (*holds.mean(0), holds.all(1).mean()))
                cells = (f"{good:.0%}", f"{noise:g}", f"{wrong:.0%}", f"{f1[0]:.3f}", f"{f1[1]:.3f}", shares)
                lines.append(f"| {' | '.join((*cells, ', '.join(shown)))} |")
                print(lines[-1], flush=True)
                every.append(holds)
                gains.append(f1[1] - f1[0])
    whole = np.stack(every)
    figures = {
        "bounds_hold_both": float(whole.all(2).mean()),
        "bounds_hold_least": float(whole.mean(1).min()),
        "f1_gained_on_tenth_percentile_least": float(min(gains)),
        "f1_gained_on_tenth_percentile_mean": float(np.mean(gains)),
    }
    print(figures)
    if options.docs:
        table = "\n".join(lines) + "\n"
        text, places = re.subn(f"(?<={START}\n).*?(?={END})", lambda _: table, PAGE.read_text(), flags=re.DOTALL)
        if places != 1:
            raise SystemExit(f"{PAGE} should have one line {START}, and one {END} after it")
        PAGE.write_text(text)
    write_figures(options.json, __file__, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())

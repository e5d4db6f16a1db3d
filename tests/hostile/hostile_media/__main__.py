"""The long form: `make hostile`.

    python -m hostile_media [--count 1000] [--seed 0]

Prints what became of the files by kind of mutation, what the dearest of them took, what the traps saw, and why files
failed; exits with 1 on any breach of what is promised.
"""

import argparse
import re
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hostile_media.mutations import KINDS
from hostile_media.trial import Outcome, Verdict, trial

_SHARED = Path(__file__).resolve().parents[4] / "shared" / "media"


def report(verdict: Verdict) -> str:
    """The tables, as Markdown."""
    lines = ["| mutation | files | ok | empty | failed |", "|---|---|---|---|---|"]
    for kind in [*dict.fromkeys(KINDS), None]:
        own = [outcome for outcome in verdict.outcomes if kind is None or outcome.file.kind == kind]
        by_status = Counter(outcome.status for outcome in own)
        figures = [len(own), *(by_status[status] for status in ("ok", "empty", "failed"))]
        lines.append(f"| {kind or 'all'} | {' | '.join(map(str, figures))} |")
    limits = verdict.config.limits

    def named(outcome: Outcome) -> str:
        return f"{outcome.file.kind}, {outcome.file.origin!r}, {outcome.status} {outcome.stage}".strip()

    slowest = max(verdict.outcomes, key=lambda outcome: outcome.seconds)
    dearest = max(verdict.outcomes, key=lambda outcome: outcome.usage.cpu_seconds)
    largest = max(verdict.outcomes, key=lambda outcome: outcome.usage.peak_mib)
    below, own = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    lines += [
        "",
        f"- clips cut: {sum(outcome.clips for outcome in verdict.outcomes)}",
        f"- slowest file: {slowest.seconds:.1f} s, all stages together ({named(slowest)})",
        f"- most CPU seconds of a process: {dearest.usage.cpu_seconds:.1f} of {limits.cpu_seconds} ({named(dearest)})",
        f"- most memory of a process: {largest.usage.peak_mib:.0f} of {limits.memory_mib} MiB ({named(largest)})",
        f"- memory of the worker itself: {verdict.worker_mib} MiB at most",
        f"- CPU seconds: {own.ru_utime + own.ru_stime:.0f} here, {below.ru_utime + below.ru_stime:.0f} in children",
        f"- connections: {verdict.connections}; canaries opened or read: {len(verdict.canary_events)}",
        f"- breaches: {len(verdict.violations)}",
        "",
        "| files | failed in | for |",
        "|---|---|---|",
    ]
    reasons = Counter(
        (outcome.stage, re.sub(r"\d+", "N", outcome.message.splitlines()[0][:110]))
        for outcome in verdict.outcomes
        if outcome.status == "failed"
    )
    lines += [f"| {count} | {stage} | {message} |" for (stage, message), count in reasons.most_common(40)]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="hostile_media", description="Curate hostile media, and say what it did.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curate-hostile-") as folder:
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
        verdict = trial(options.keep or Path(folder), options.seed, options.count, _SHARED)
    print(f"seed {options.seed}, {options.count} files\n\n{report(verdict)}")
    for violation in verdict.violations:
        print(f"BREACH {violation}", file=sys.stderr)
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())

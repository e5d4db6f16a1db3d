"""The measurements as Markdown: medians over the repeats, and ratios to one system."""

from collections.abc import Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]

HEADER = """\
| system | runs | wall s | CPU-s | CPU against {base} | peak GiB | first clip file s | clips | clip files |
|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


def table(rows: Sequence[Row], base: str) -> str:
    """Medians of the runs that succeeded, a line for each system in the order of first appearance.

    Args:
        rows: one per run, as `run.py` stores them, all of the same footage.
        base: the system that the others' CPU seconds are divided by; "" or one that is not there: no ratios.
    """
    systems: dict[str, list[Row]] = {}
    for row in rows:
        if row["exit_code"] == 0:
            systems.setdefault(row["system"], []).append(row)
    base_cpu = median(row["cpu_s"] for row in systems[base]) if base in systems else None
    lines = [HEADER.format(base=base or "none")]
    for system, runs in systems.items():

        def middle(column: str, runs: list[Row] = runs) -> float | None:
            values = [row[column] for row in runs if row[column] is not None]
            return median(values) if values else None

        cpu = middle("cpu_s") or 0.0
        cells = [
            system,
            len(runs),
            _shown(middle("wall_s"), 0),
            _shown(cpu, 0),
            _shown(cpu / base_cpu if base_cpu else None, 2),
            _shown((middle("peak_mib") or 0) / 1024, 1),
            _shown(middle("first_s"), 0),
            _shown(middle("clips"), 0),
            _shown(middle("files"), 0),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    failed = [f"{row['system']} (run {row['repeat']}): {_reason(row)}" for row in rows if row["exit_code"] != 0]
    notes = [f"\nNot finished: {'; '.join(failed)}."] if failed else []
    used = sorted({f"{name} {version}" for row in rows for name, version in row["versions"].items()})
    return "\n".join([*lines, *notes, f"\nVersions: {', '.join(used)}."])


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _reason(row: Row) -> str:
    return "no end within its time" if row["exit_code"] is None else f"exit code {row['exit_code']}"

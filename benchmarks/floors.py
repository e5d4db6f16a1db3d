"""Whether the results of benchmarks show what they must: benchmarks/floors.yaml.

    python benchmarks/rethreshold.py --json build/rethreshold.json
    python benchmarks/floors.py build/*.json

Each benchmark writes its figures with `--json FILE`. Prints a line for each floor of the benchmarks whose results are
given, and ends with 1 when one of them does not hold, or its figure is missing.
"""

# pyright: basic

import argparse
import json
import operator
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FLOORS = Path(__file__).resolve().with_name("floors.yaml")
HOLDS = {"least": operator.ge, "most": operator.le, "exact": operator.eq}


def write_figures(path: Path | None, benchmark: str, figures: Mapping[str, float]) -> None:
    """Write the figures of a benchmark, given by its file; nothing where no path was asked for."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = Path(benchmark).resolve().relative_to(FLOORS.parent).as_posix()
        path.write_text(json.dumps({"benchmark": name, "figures": dict(figures)}, indent=1))


def judged(
    result: Mapping[str, Any], floors: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> list[tuple[bool, str]]:
    """For each floor of a result's benchmark whether it holds, and a line that says so."""
    benchmark, figures = result["benchmark"], result["figures"]
    lines: list[tuple[bool, str]] = []
    for name, bounds in floors.get(benchmark, {}).items():
        for kind, bound in bounds.items():
            figure = figures.get(name)
            holds = figure is not None and HOLDS[kind](figure, bound)
            shown = "is missing" if figure is None else f"is {figure:g}"
            lines.append((holds, f"{'holds' if holds else 'FAILS'}  {benchmark}: {name} {shown}, {kind} {bound:g}"))
    return lines


def main() -> int:
    """Print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="files that benchmarks wrote with --json")
    floors = yaml.safe_load(FLOORS.read_text())
    lines = [line for path in parser.parse_args().results for line in judged(json.loads(path.read_text()), floors)]
    print("\n".join(line for _, line in lines) or "these benchmarks have no floors")
    return 0 if all(holds for holds, _ in lines) else 1


if __name__ == "__main__":
    sys.exit(main())

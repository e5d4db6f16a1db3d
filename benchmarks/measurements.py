"""How good measurements are: positives and negatives made from real footage, and what each measurement says of them.

    python benchmarks/measurements.py                      # all
    python benchmarks/measurements.py borders --docs       # one, and its table goes into docs/measurements.md; its cost
                                                           # into docs/benchmarks.md
    python benchmarks/measurements.py --media FOLDER --json build/results

`--json FOLDER` writes a file for each, which benchmarks/floors.py reads.
"""

# pyright: basic

import argparse
import importlib
import re
import sys
import tempfile
from pathlib import Path

from floors import write_figures
from proofs.proof import Material, Proof, packaged_footage

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "measurements.md"
COSTS = HERE.parent / "docs" / "benchmarks.md"
NAMES = sorted(
    path.stem for path in (HERE / "proofs").glob("*.py") if path.stem not in ("__init__", "proof", "films", "speaker")
)


def into_docs(name: str, proof: Proof) -> None:
    """Put the table between the two marks of the asset.

    Raises:
        SystemExit: the page has no place for it.
    """
    _between(PAGE, f"<!-- proof of {name} -->", f"<!-- end of {name} -->", proof.markdown())
    _between(COSTS, "<!-- costs of measurements -->", "<!-- end of costs -->", costs(PAGE.read_text()))


def costs(page: str) -> str:
    """The table of what measurements cost, from the tables of their proofs; the least first."""
    proofs = re.findall(r"<!-- proof of (\w+) -->\n(.*?)<!-- end of \1 -->", page, flags=re.DOTALL)
    stated = [
        (name, re.search(r"^Cost: (\S+) CPU seconds per minute", proof, flags=re.MULTILINE)) for name, proof in proofs
    ]
    known = sorted(((name, each[1]) for name, each in stated if each), key=lambda cost: float(cost[1]))
    return "\n".join(["| measurement | CPU-s |", "|---|---:|", *(f"| `{name}` | {cost} |" for name, cost in known)])


def _between(page: Path, start: str, end: str, table: str) -> None:
    text, places = re.subn(f"(?<={start}\n).*?(?={end})", lambda _: table + "\n", page.read_text(), flags=re.DOTALL)
    if places != 1:
        raise SystemExit(f"{page} should have one line {start}, and one {end} after it")
    page.write_text(text)


def main() -> int:
    """Print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", nargs="*", help=f"of {', '.join(NAMES)}; all where none is named")
    parser.add_argument("--media", type=Path, action="append", default=[], help="folder with more footage (.mp4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/measurements.md")
    parser.add_argument("--json", type=Path, help="folder for the figures")
    given = parser.parse_args()
    if unknown := set(given.assets) - set(NAMES):
        parser.error(f"there is no proof of {', '.join(sorted(unknown))}")
    footage = packaged_footage() + sorted(path for folder in given.media for path in folder.glob("*.mp4"))
    for name in given.assets or NAMES:
        with tempfile.TemporaryDirectory() as scratch:
            proof = importlib.import_module(f"proofs.{name}").prove(Material(footage, Path(scratch), given.seed))
        print(f"\n{name}\n\n{proof.markdown()}", flush=True)
        if given.docs:
            into_docs(name, proof)
        if given.json is not None:
            write_figures(given.json / f"{name}.json", str(HERE / "proofs" / f"{name}.py"), proof.figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())

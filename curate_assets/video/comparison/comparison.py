"""Two tables of captions compared: what a judge prefers, how sure that is, and what it took."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from curate_assets.graph.contact_sheet import spread
from curate_assets.graph.platform import ConfigError
from curate_assets.video.comparison.judgements import Judgements
from curate_assets.video.comparison.judging import Cost, JudgedPair, judged
from curate_assets.video.comparison.pairs import CaptionPairs, caption_pairs
from curate_assets.video.comparison.regressions import JUDGE
from curate_resources.declarations.table import Row, Table
from curate_resources.models.fetching import ensure
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.captioners.judge import JudgeConfig
from gpu_kernels.scores.share_bounds import CONFIDENCE, share_bounds


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two tables; a regression is a window whose caption is better in the first.

    Attributes:
        a, b: what the sides are called.
        root: the first one's.
        model, revision: of the judge.
        pairs: all windows; `judged` are those with different texts, or a sample of them.
        cost: what was asked now; what was kept costs nothing.
    """

    a: str
    b: str
    root: str
    model: str
    revision: str
    pairs: CaptionPairs
    judged: tuple[JudgedPair, ...]
    cost: Cost

    @cached_property
    def decided(self) -> tuple[JudgedPair, ...]:
        """The pairs with judgements in both orders."""
        return tuple(each for each in self.judged if each.said)

    @cached_property
    def results(self) -> dict[str, int]:
        """Pairs by result: `a`, `b` and `tie`, and `failed` for those without one."""
        counted = {"a": 0, "b": 0, "tie": 0, "failed": 0}
        for each in self.judged:
            counted[each.result or "failed"] += 1
        return counted

    @property
    def agreement(self) -> float | None:
        """Share of the decided pairs of which both orders say the same; None: there is none."""
        return sum(each.agreed for each in self.decided) / len(self.decided) if self.decided else None

    @property
    def regressions(self) -> float | None:
        """Share of the decided pairs whose caption is better in the first table."""
        return self.results["a"] / len(self.decided) if self.decided else None

    @property
    def bounds(self) -> tuple[float, float]:
        """Confidence bounds of that share."""
        return share_bounds(self.results["a"], len(self.decided))

    def exceeds(self, most: float) -> bool:
        """Whether there are surely more regressions than this share, or nothing could be judged that had to be."""
        return self.bounds[0] > most or (bool(self.judged) and not self.decided)

    def document(self) -> Row:
        """As JSON."""
        lower, upper = self.bounds
        return {
            "a": self.a,
            "b": self.b,
            "judge": {"model": self.model, "revision": self.revision},
            "windows": dict(self.pairs.counts),
            "judged": len(self.judged),
            "results": self.results,
            "agreement": self.agreement,
            "regressions": {"share": self.regressions, "lower": lower, "upper": upper, "confidence": CONFIDENCE},
            "cost": asdict(self.cost),
            "pairs": [_document(each) for each in self.judged],
        }


def compare_captions(
    a: tuple[Tables, Table],
    b: tuple[Tables, Table],
    config: Any,
    sample: int | None = None,
    shard: str | None = None,
) -> Comparison:
    """Have the windows of two tables judged that have different captions; judgements are kept in the first one's root.

    Args:
        sample: of this many, evenly from all.
        shard: of this one alone.

    Raises:
        ConfigError: no judge is configured.
        NotThere: one of the tables was never written.
    """
    settings: JudgeConfig = config.caption_judge
    if config.caption_judge.backend == "none":
        raise ConfigError(
            f"there is no judge: set {JUDGE}.backend and {JUDGE}.model in curate.yaml, as those of captions"
        )
    tables, root = a[0], a[0].storage.root
    pairs = caption_pairs(a, b, shard)
    ensure(settings.models(), config.models)
    model, revision = settings.identity()
    chosen = pairs.changed if sample is None else spread(pairs.changed, sample)
    found, cost = judged(tables, settings, Judgements(tables.storage, settings.digest()), chosen)
    apart = b[0].storage.root != root
    name_a, name_b = (f"{table.name} of {of.storage.root}" if apart else table.name for of, table in (a, b))
    return Comparison(name_a, name_b, root, model, revision, pairs, tuple(found), cost)


def _document(judged: JudgedPair) -> Row:
    pair = judged.pair
    video_id, clip_id, start, end = pair.window
    return {
        "shard": pair.shard,
        "video_id": video_id,
        "clip_id": clip_id,
        "start_frame": start,
        "end_frame": end,
        "a": pair.a,
        "b": pair.b,
        "result": judged.result,
        "agreed": judged.agreed if judged.said else None,
        "said": judged.said,
        "reasons": [each.reason if each else None for each in (judged.ab, judged.ba)],
        "failure": judged.failure,
    }

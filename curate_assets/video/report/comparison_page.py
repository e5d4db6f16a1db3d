"""The page of a comparison: pairs of captions under pictures of their windows, and what the judge said of them."""

from collections.abc import Callable
from dataclasses import dataclass

from curate_assets.graph.contact_sheet import spread
from curate_assets.video.comparison.comparison import Comparison
from curate_assets.video.comparison.judging import JudgedPair
from curate_assets.video.report.page import environment
from curate_assets.video.thumbnails import Place, thumbnails, window_places
from curate_resources.tables.lance_tables import Tables

COMPARISON_PATH = "reports/comparison.html"

_TEMPLATE = "comparison.html.jinja"


@dataclass(frozen=True)
class _Group:
    """Pairs of one outcome, `shown` with their pictures."""

    title: str
    meaning: str
    total: int
    shown: list[tuple[JudgedPair, list[bytes]]]


def write_comparison_page(tables: Tables, comparison: Comparison, most: int) -> str:
    """Write the page; returns its URI.

    Args:
        most: pairs shown of each outcome, evenly from all.
    """
    tables.storage.write(COMPARISON_PATH, render_comparison_page(tables, comparison, most).encode())
    return tables.storage.uri(COMPARISON_PATH)


def render_comparison_page(tables: Tables, comparison: Comparison, most: int) -> str:
    """As the report, HTML that holds its style and pictures, loads nothing and runs no script."""
    outcomes = [(*words, [each for each in comparison.judged if has(each)]) for *words, has in _OUTCOMES]
    chosen = [spread(pairs, most) for *_, pairs in outcomes]
    found = thumbnails(tables, [place for pairs in chosen for each in pairs for place in _places(each)])
    shown = [
        _Group(
            title.format(a=comparison.a, b=comparison.b),
            meaning,
            len(pairs),
            [(each, [found[place] for place in _places(each) if place in found]) for each in some],
        )
        for (title, meaning, pairs), some in zip(outcomes, chosen, strict=True)
        if pairs
    ]
    return environment().get_template(_TEMPLATE).render(comparison=comparison, groups=shown)


def _places(judged: JudgedPair) -> list[Place]:
    return window_places(judged.pair.shard, *judged.pair.window)


_OUTCOMES: tuple[tuple[str, str, Callable[[JudgedPair], bool]], ...] = (
    (
        "The two orders disagree",
        "What the judge prefers depends on which caption it reads first. Each counts as a tie.",
        lambda each: each.said is not None and not each.agreed,
    ),
    ("{a} is better", "Regressions.", lambda each: each.agreed and each.result == "a"),
    ("{b} is better", "Improvements.", lambda each: each.agreed and each.result == "b"),
    ("Ties", "Neither is better, in both orders.", lambda each: each.agreed and each.result == "tie"),
    ("Not judged", "They are asked about again next time.", lambda each: each.said is None),
)
"""Title, meaning, and which pairs these are."""

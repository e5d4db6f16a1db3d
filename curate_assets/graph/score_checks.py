"""The checks that every score has: numbers where there should be numbers, and distributed as in other shards."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curate_assets.graph.drift import too_few, too_short_history
from curate_assets.graph.score import Score
from curate_assets.graph.shard_checks import Check, Finding, Problems, Shard, nothing_wrong
from curate_resources.declarations.table import Row, Table

_ROWS = 500
"""Rows of each other shard that a shard is compared with: a few are enough to say how a score is distributed."""


def score_checks(table: Table, scores: Sequence[Score]) -> Iterator[Check]:
    """What must hold of the scores that come from a table's rows, and where to look when one is unlike others'."""
    if scores:
        ranges = [f"{each.name} from {each.within[0]:g} to {each.within[1]:g}" for each in scores if each.within]
        yield Check(
            table,
            "scores_in_range",
            f"Scores are finite{', and in range: ' if ranges else ''}{', '.join(ranges)}.",
            nothing_wrong(lambda shard: _out_of_range(shard, table, scores)),
            _rows(table, scores) + _outside(scores),
        )
    compared = [score for score in scores if score.steady]
    if compared:
        yield Check(
            table,
            "scores_steady",
            "Scores are distributed as in other shards, to checks.max_score_change.",
            lambda shard: _changed(shard, table, compared),
            f"{_rows(table, compared)} order by {compared[0].columns[0]}",
            warns=True,
        )


def _out_of_range(shard: Shard, table: Table, scores: Sequence[Score]) -> Problems:
    return [
        f"{shard.named(table, row)}: {score.name} is {value}"
        for row in shard.good(table)
        for score in scores
        if (value := score.of(row)) is not None
        if not (math.isfinite(value) and (score.within is None or score.within[0] <= value <= score.within[1]))
    ]


def _changed(shard: Shard, table: Table, scores: Sequence[Score]) -> Finding:
    """Kolmogorov and Smirnov's distance between the shard's scores and those of other shards, the greatest of any."""
    own, others = shard.good(table), shard.others(table)
    if note := too_few(shard, len(own), f"rows of {table.name}"):
        return Finding([], note=note)
    columns = ["shard", *dict.fromkeys(name for score in scores for name in score.columns)]
    rows = shard.tables.read(table, [each.shard for each in others], columns, "status = 'ok'").to_pylist()
    by_shard: dict[str, list[Row]] = {}
    for row in rows:
        by_shard.setdefault(row["shard"], []).append(row)
    comparable = [each for each in by_shard.values() if len(each) >= shard.config.checks.min_rows]
    if note := too_short_history(shard, len(comparable)):
        return Finding([], note=note)
    elsewhere = [row for each in comparable for row in each[:: -(-len(each) // _ROWS)]]
    limit, greatest = shard.config.checks.max_score_change, 0.0
    problems: Problems = []
    for score in scores:
        here, there = _values(own, score), _values(elsewhere, score)
        if len(here) == 0 or len(there) == 0:
            continue
        distance = _distance(here, there)
        greatest = max(greatest, distance)
        if distance > limit:
            problems.append(f"{score.name} has a median of {np.median(here):.4g}, elsewhere {np.median(there):.4g}")
    return Finding(problems, {"greatest_change": greatest, "shards_compared": len(comparable)})


def _values(rows: Sequence[Row], score: Score) -> NDArray[np.float64]:
    return np.sort(np.array([value for row in rows if (value := score.of(row)) is not None], np.float64))


def _distance(here: NDArray[np.float64], there: NDArray[np.float64]) -> float:
    """The greatest difference between the shares of values up to some value; both are sorted."""
    at = np.concatenate([here, there])
    shares = [np.searchsorted(each, at, side="right") / len(each) for each in (here, there)]
    return float(np.abs(shares[0] - shares[1]).max())


def _rows(table: Table, scores: Sequence[Score]) -> str:
    """SQL for the good rows of a shard, with what the scores are made from."""
    columns = ", ".join(dict.fromkeys([*table.keys, *(name for score in scores for name in score.columns)]))
    return f"select {columns} from {table.name} where shard = $shard and status = 'ok'"


def _outside(scores: Sequence[Score]) -> str:
    """The condition of rows with a score out of range; nothing where one is not simply a column."""
    if any(score.value is not None for score in scores):
        return ""
    inside = [_inside(score.columns[0], score.within) for score in scores]
    return f" and not ({' and '.join(inside)})"


def _inside(column: str, within: tuple[float, float] | None) -> str:
    return f"{column} between {within[0]} and {within[1]}" if within is not None else f"isfinite({column}::double)"

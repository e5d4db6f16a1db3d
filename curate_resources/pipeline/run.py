"""A run of a plan: units through an engine, and every shard committed when its last unit is through."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from curate_resources.pipeline.commit import Materialized, commit
from curate_resources.pipeline.events import Announced, Committed, StageTally, UnitDone, emit
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.unit import Unit
from curate_resources.sources.manifests import MANIFEST
from gpu_kernels.errors import OperatingError

_progress = logging.getLogger("curate.progress")

_SUMMED = ("seconds", "cpu_seconds", "gpu_seconds", "computed", "reused", "failed", "bytes")


class LostUnits(OperatingError):
    """An engine ended without giving back every unit."""


Mode = Literal["auto", "streaming", "batch"]


class Engine(Protocol):
    """Passes units through a plan's stages, in any order and place."""

    def holds(self, plan: Plan) -> bool:
        """Whether it has room for all stages of a plan at the same time."""
        ...

    def run(self, plan: Plan, units: list[Unit]) -> Iterator[Unit]:
        """Give back every unit once, with the rows of every stage. The list is the engine's, to be emptied."""
        ...


def materialize(plan: Plan, shards: Sequence[str], engine: Engine, mode: Mode = "auto") -> Iterator[Materialized]:
    """Run a plan on shards; every table of a shard is committed as soon as the shard's last unit is through.

    Args:
        mode: `streaming` passes units from stage to stage, `batch` runs one stage after the other, through the tables;
            `auto` streams unless the engine cannot hold all stages at the same time.

    Raises:
        MissingInput: before anything runs.
        LostUnits: the engine lost units; shards that were complete are committed.
    """
    if mode == "batch" or (mode == "auto" and len(plan.stages) > 1 and not engine.holds(plan)):
        if mode == "auto":
            _progress.info("stage after stage, because there is no room for all of %s at the same time", plan.name)
        for stage in plan.stages:
            yield from _streamed(plan.only(stage), shards, engine)
    else:
        yield from _streamed(plan, shards, engine)


def _streamed(plan: Plan, shards: Sequence[str], engine: Engine) -> Iterator[Materialized]:
    units = {shard: plan.units(shard) for shard in shards}
    totals = {shard: sum(unit.rows[MANIFEST.name].num_rows for unit in units[shard]) for shard in shards}
    waiting = {shard: {unit.source for unit in units[shard]} for shard in shards}
    done: dict[str, list[Unit]] = {shard: [] for shard in shards}
    announce(plan.name, totals, plan.curated.files.nouns)
    for shard in shards:
        if not waiting[shard]:
            yield from _committed(plan, shard, [])
    queue = [unit for shard in shards for unit in units.pop(shard)]
    for unit in engine.run(plan, queue):
        done[unit.shard].append(unit)
        waiting[unit.shard].discard(unit.source)
        total = totals[unit.shard]
        emit(unit_done(plan, unit, total - len(waiting[unit.shard]), total))
        if not waiting[unit.shard]:
            yield from _committed(plan, unit.shard, done.pop(unit.shard))
    lost = [f"{shard}: {source}" for shard, sources in waiting.items() for source in sorted(sources)]
    if lost:
        raise LostUnits(
            f"{len(lost)} {plan.curated.files.nouns} never came back from the workers, run again: {', '.join(lost[:5])}"
        )


def unit_done(plan: Plan, unit: Unit, done: int, total: int) -> UnitDone:
    """The event of a unit that is through; `done` of `total` units of its shard are."""
    tables = plan.wanted & unit.rows.keys()
    return UnitDone(
        plan=plan.name,
        shard=unit.shard,
        source=unit.source,
        done=done,
        total=total,
        nouns=plan.curated.files.nouns,
        parts=_parts(plan, unit),
        failed=sum(unit.rows[name]["status"].to_pylist().count("failed") for name in tables),
        media_seconds=_seconds(plan, unit),
        stages=_tallied(unit.tallies),
        units=total if plan.by_shard else 1,
    )


def announce(plan: str, totals: Mapping[str, int], nouns: str) -> None:
    """Tell those who show progress how many units of each shard there are to come."""
    for shard, total in totals.items():
        emit(Announced(plan, shard, total, nouns))


def _committed(plan: Plan, shard: str, units: list[Unit]) -> Iterator[Materialized]:
    began = time.time_ns()
    for done in commit(plan, shard, units):
        emit(Committed(done, began, time.time_ns()))
        yield done
        began = time.time_ns()


def _tallied(tallies: Sequence[Mapping[str, Any]]) -> tuple[StageTally, ...]:
    """By stage, what its workers did for a unit in all its parts."""
    found: dict[str, StageTally] = {}
    for tally in tallies:
        before = found.get(tally["stage"], StageTally(tally["stage"]))
        counts: dict[str, Any] = {name: getattr(before, name) + tally[name] for name in _SUMMED}
        named: dict[str, Any] = {name: _added(getattr(before, name), tally[name]) for name in ("tokens", "failures")}
        found[before.stage] = StageTally(before.stage, **counts, **named)
    return tuple(found.values())


def _added(counts: Mapping[str, int], more: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(counts) | {each["name"]: counts.get(each["name"], 0) + each["count"] for each in more}


def _seconds(plan: Plan, unit: Unit) -> float:
    """How long a unit lasts, as far as that is known."""
    column, rows = plan.curated.duration, unit.rows.get(plan.curated.table.name)
    if column is None or rows is None:
        return 0.0
    return sum(filter(None, rows[column].to_pylist())) / 1e9


def _parts(plan: Plan, unit: Unit) -> int:
    counts = [
        rows["status"].to_pylist().count("ok")
        for name, rows in unit.rows.items()
        if plan.tables[name].grain == plan.curated.parts
    ]
    return max(counts, default=0)

"""What every stage run does, in any engine: reuse, divide, compute, isolate what fails.

An item whose stored rows carry the fingerprint that they would get again is not computed. When a stage raises, its
items are tried one by one, and only those that raise alone become failed rows.
"""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate_resources.declarations.stage import Made, SegmentsDisagree, Stage, Work, Worker
from curate_resources.declarations.table import Row
from curate_resources.pipeline.fingerprints import Key, fingerprint, holding, joined_on, keys_of, made_by, made_from
from curate_resources.pipeline.made_rows import with_common_columns
from curate_resources.pipeline.operating_errors import operating_error
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.stopwatch import SharedClock, SharedStopwatch, Stopwatch
from curate_resources.pipeline.unit import Unit

_log = logging.getLogger("curate.stages")
_MESSAGE_LIMIT = 2000

Rows = Mapping[str, pa.Table]
"""Rows by table."""

Computing = Generator[Work, Made, dict[str, pa.Table]]
"""Gives works that are to be done, is sent the rows of each (or its error is thrown), and ends with what came of it."""

Doubt = Literal["missing", "failed", "inputs"] | int
"""Why stored rows do not hold: there are none, they failed and nothing changed since, they were made from other inputs,
or with another recipe, which is then given by number."""


@dataclass(frozen=True, order=True)
class Part:
    """Some of what a stage has to do for a unit: its pending items [start, stop), or one segment of a single item."""

    start: int
    stop: int
    segment: int = 0
    segments: int = 1

    @property
    def smallest(self) -> bool:
        """Whether it cannot be divided by items."""
        return self.stop - self.start == 1

    def singly(self) -> list["Part"]:
        """The same, one item at a time."""
        return [self] if self.smallest else [Part(index, index + 1) for index in range(self.start, self.stop)]


class Treatment:
    """One stage of a plan: what is the same for all units."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.stage = stage
        self._config = plan.config
        self.force_kept = plan.failed_only
        self.tables = plan.tables
        self.item = plan.tables[stage.item]
        self.idle = stage.is_idle(plan.config)
        # As if an idle table were not read: a stage that comes to read one keeps its rows until that has any.
        self.made_from = [plan.tables[name] for name in stage.reads if name not in plan.idle]
        self.writes = {table.name: table for table in stage.writes if table.name in plan.wanted}
        self.made = [name for name in self.writes if not self.idle and name not in plan.idle]
        """Those of its tables that get rows."""
        # What an exact copy has of its own are the keys of another unit's rows.
        self._copies = {name for name in (*stage.reads, *stage.gates) if plan.tables[name].distinct}
        self.links = {name: joined_on(self.item, plan.tables[name]) for name in (*stage.reads, *self.writes)}
        self.made_by = {name: made_by(name, table.recipe(plan.config)) for name, table in self.writes.items()}
        self._clock = SharedClock(children=stage.heavy)

    def workable(self, unit: Unit) -> pa.Table:
        """The items of a unit that the stage works on."""
        stage, items = self.stage, unit.rows[self.stage.item]
        if self.idle:
            return items.slice(0, 0)
        mask = [status == "ok" for status in items["status"].to_pylist()]
        if stage.eligible is not None and any(mask):
            items = items.filter(pa.array(mask))
            mask = stage.eligible(self._config, items, self.inputs(unit))
        return items if all(mask) else items.filter(pa.array(mask, pa.bool_()))

    def inputs(self, unit: Unit) -> dict[str, pa.Table]:
        """The other rows of a unit that the stage reads."""
        return {
            name: unit.rows[name].filter(pc.field("status") != "empty") if name in self._copies else unit.rows[name]
            for name in (*self.stage.reads, *self.stage.gates)
        }

    def of(self, unit: Unit) -> "Computation":
        """What the stage has to do for a unit."""
        return Computation(self, unit)

    def watch(self) -> Stopwatch | SharedStopwatch:
        """A watch for one computation of this process, running."""
        several = self.stage.needs.at_once > 1
        return SharedStopwatch(self._clock) if several else Stopwatch(children=self.stage.heavy)


class Computation:
    """One stage and one unit: which items are pending, in which parts they may be computed, and what comes of it.

    Everything here is a function of the unit, so two processes that hold the same unit see the same parts.
    """

    def __init__(self, treatment: Treatment, unit: Unit) -> None:
        self._about, self._stage, self._unit = treatment, treatment.stage, unit
        self._items = treatment.workable(unit)
        self._inputs = treatment.inputs(unit)
        self._made_from = made_from(treatment.item, self._items, treatment.made_from, self._inputs)
        self._fingerprints = {
            name: [fingerprint(recipe, each) for each in self._made_from] for name, recipe in treatment.made_by.items()
        }
        self._reusable = {
            name: holding(
                self._items,
                self._fingerprints[name],
                treatment.links[name],
                unit.kept.get(name),
                treatment.force_kept,
            )
            for name in treatment.made
        }
        self.pending = [
            i for i in range(self._items.num_rows) if not all(i in rows for rows in self._reusable.values())
        ]
        # A table whose rows all hold is not asked for, though another of the same stage is.
        self._wanted = frozenset(
            name for name, rows in self._reusable.items() if any(index not in rows for index in self.pending)
        )

    @property
    def unit(self) -> Unit:
        """The unit that it is about."""
        return self._unit

    @property
    def items(self) -> pa.Table:
        """The items that the stage works on."""
        return self._items

    def in_doubt(self, table: str) -> list[int]:
        """The items whose rows of a table do not hold; before any are computed."""
        held = self._reusable.get(table)
        if held is None:
            return []
        return [index for index in range(self._items.num_rows) if index not in held]

    def doubts(self, table: str, recipes: Callable[[int], Sequence[str]]) -> dict[int, Doubt]:
        """Why the rows of a table do not hold, by index of the item; before any are computed.

        Args:
            recipes: of an item, as of `made_by`; earlier ones that may have made what is stored.
        """
        if not (indices := self.in_doubt(table)):
            return {}
        kept, links = self._unit.kept.get(table), self._about.links[table]
        stored: dict[Key, set[str]] = {}
        if kept is not None:
            for key, its_own in zip(keys_of(kept, links), kept["fingerprint"].to_pylist(), strict=True):
                stored.setdefault(key, set()).add(its_own)
        found: dict[int, Doubt] = {}
        keys = keys_of(self._items, links)
        for i in indices:
            prints = stored.get(keys[i], set[str]())
            if not prints:
                found[i] = "missing"
            elif prints == {self._fingerprints[table][i]} or self._about.force_kept:
                found[i] = "failed"
            else:
                found[i] = "inputs"
                for number, recipe in enumerate(recipes(i)):
                    if prints == {fingerprint(recipe, self._made_from[i])}:
                        found[i] = number
                        break
        return found

    def unclaimed(self, table: str) -> list[int]:
        """The places of stored rows of a table that belong to none of the items any more."""
        kept, links = self._unit.kept.get(table), self._about.links[table]
        held = {row for rows in self._reusable.get(table, {}).values() for row in rows}
        if kept is None or len(held) == kept.num_rows:
            return []
        items = set(keys_of(self._items, links)) if table in self._reusable else set[Key]()
        return [row for row, key in enumerate(keys_of(kept, links)) if row not in held and key not in items]

    def parts(self, alone: bool = False) -> list[Part]:
        """What several workers may compute: batches, or every item `alone`, or segments of a single item."""
        parts = Part(0, len(self.pending)).singly() if alone and self.pending else self.batches()
        if self._stage.segments is None:
            return parts
        return [segment for part in parts for segment in self._segments(part)]

    def batches(self) -> list[Part]:
        """The pending items in parts of at most `needs.batch_mib`; an item that is larger is a part of its own."""
        if len(self.pending) < 2:
            return [Part(0, 1)] if self.pending else []
        budget = self._stage.needs.batch_mib * (1 << 20)
        if self._stage.of_shards and sum(rows.nbytes for rows in self._inputs.values()) <= budget:
            return [Part(0, len(self.pending))]  # it opens no media
        parts: list[Part] = []
        start, held = 0, 0.0
        for position, size in enumerate(self._sizes()):
            if position > start and held + size > budget:
                parts.append(Part(start, position))
                start, held = position, 0.0
            held += size
        return [*parts, Part(start, len(self.pending))]

    def compute(self, worker: Worker, part: Part, early: Callable[[Rows], None] | None = None) -> dict[str, pa.Table]:
        """The new rows of a part; what raises alone becomes failed rows.

        Args:
            early: takes the rows of the beginning of a single item, each time more is known.
        """
        computing = self.computing(part, early)
        try:
            work = next(computing)
            while True:
                try:
                    made = worker(work)
                except Exception as error:
                    work = computing.throw(error)
                else:
                    work = computing.send(made)
        except StopIteration as end:
            return end.value

    def computing(self, part: Part, early: Callable[[Rows], None] | None = None) -> Computing:
        """As `compute`, for who does the works in between."""
        watch = self._about.watch()
        early = watch.without(early) if early is not None else None
        made: dict[str, list[pa.Table]] = {name: [] for name in self._wanted}
        failed = 0

        def run(some: Part) -> Generator[Work, Made, None]:
            items, work = self._work(some, early)
            for name, rows in self._typed((yield work), items, work.fingerprints).items():
                made[name].append(rows)

        try:
            try:
                yield from run(part)
            except Exception as error:
                failed = yield from self._one_by_one(run, part, error, made)
            if part.segments > 1:  # counted once, and what fails is computed whole
                self._tally(0 if part.segment else 1, 0, watch, made)
            else:
                self._tally(part.stop - part.start, failed, watch, made)
        finally:
            watch.stop()
        return {name: pa.concat_tables(rows or [self._about.writes[name].empty()]) for name, rows in made.items()}

    def given_up(self, part: Part, error: Exception, attempt: int) -> dict[str, pa.Table]:
        """Failed rows for a part that was tried elsewhere `attempt` times and is not to be tried again."""
        positions = range(part.start, part.stop)
        rows = {
            name: [self._failure(name, position, error, attempt) for position in positions] for name in self._wanted
        }
        self._tally(len(positions), len(positions), made=rows)
        return {name: pa.concat_tables(failed) for name, failed in rows.items()}

    def finish(self, fresh: Sequence[tuple[Part, Rows]], worker: Worker) -> None:
        """Put the stage's rows into the unit: those that hold, and the new ones of all parts.

        Segments of one item are joined; when they do not fit, `worker` computes the item whole.
        """
        computed: list[Rows] = [rows for part, rows in fresh if part.segments == 1]
        for start in sorted({part.start for part, _ in fresh if part.segments > 1}):
            ordered = sorted((item for item in fresh if item[0].start == start), key=lambda item: item[0].segment)
            computed.append(self._joined(start, [rows for _, rows in ordered], worker))
        for name, table in self._about.writes.items():
            reusable = self._reusable.get(name, {})
            if name in self._wanted:
                for position in self.pending:
                    reusable.pop(position, None)
            kept = self._unit.kept.get(name, table.empty())
            places = [row for _, rows in sorted(reusable.items()) for row in rows]
            held = kept.take(pa.array(places, pa.int64()))
            new = [rows[name] for rows in computed if name in rows]
            self._unit.rows[name] = pa.concat_tables([held, *new])
        if not self.pending:
            self._tally(0, 0)
        reused = self._items.num_rows - len(self.pending)
        self._unit.tallies[-1]["reused"] += reused

    # ---------------------------------------------------------------- in parts

    def _sizes(self) -> list[float]:
        """Bytes of the rows of each pending item, and of the media that they point at."""
        sizes = [0.0] * len(self.pending)
        for name in self._stage.reads:
            rows = self._inputs[name]
            links = self._about.links[name]
            each = rows.nbytes / max(1, rows.num_rows)
            media = rows["bytes"].to_pylist() if "bytes" in rows.column_names else [0] * rows.num_rows
            by_item: dict[Key, float] = {}
            for key, size in zip(keys_of(rows, links), media, strict=True):
                by_item[key] = by_item.get(key, 0) + each + (size or 0)
            keys = keys_of(self._items, links)
            shared = max(1, len(keys) // max(1, len(set(keys))))  # rows of a unit belong to all its items alike
            for position, index in enumerate(self.pending):
                sizes[position] += by_item.get(keys[index], 0) / shared
        return sizes

    def _segments(self, part: Part) -> list[Part]:
        assert self._stage.segments is not None
        found: list[Part] = []
        for position in range(part.start, part.stop):
            count = self._stage.segments.count(self._item_row(position))
            found += [Part(position, position + 1, index, count) for index in range(count)]
        return found if any(each.segments > 1 for each in found) else [part]

    def _joined(self, position: int, segments: list[Rows], worker: Worker) -> Rows:
        assert self._stage.segments is not None
        whole = Part(position, position + 1)
        for rows in segments:
            errors = [error for table in rows.values() for error in table["error"].to_pylist() if error]
            if any(error["attempt"] > 1 for error in errors):
                return rows  # it was given up, and so is the whole
            if errors:
                _log.info("%s of %s is computed whole: %s", self._stage.name, self._unit.source, errors[0]["message"])
                return self._again_whole(whole, worker)
        try:
            return self._stage.segments.join(segments)
        except SegmentsDisagree as error:
            _log.info("%s of %s is computed whole: %s", self._stage.name, self._unit.source, error)
            return self._again_whole(whole, worker)

    def _again_whole(self, part: Part, worker: Worker) -> Rows:
        rows = self.compute(worker, part)
        self._unit.tallies[-1]["computed"] = 0  # its segments were counted
        return rows

    # ---------------------------------------------------------------- computing

    def _work(self, part: Part, early: Callable[[Rows], None] | None = None) -> tuple[pa.Table, Work]:
        """The items of a part, and what a worker is asked to do for them."""
        indices = self.pending[part.start : part.stop]
        items = self._items.take(indices)
        prints = {name: [self._fingerprints[name][i] for i in indices] for name in self._wanted}
        work = Work(
            items=items,
            inputs=self._inputs,
            wanted=self._wanted,
            fingerprints=prints,
            segment=(part.segment, part.segments) if part.segments > 1 else None,
            early=(lambda rows: early(self._typed(rows, items, prints))) if early and part.smallest else None,
        )
        return items, work

    def _typed(self, made: Made, items: pa.Table, prints: Mapping[str, list[str]]) -> dict[str, pa.Table]:
        """A worker's rows with the columns that every row has."""
        typed: dict[str, pa.Table] = {}
        for name in self._wanted:
            links, schema = self._about.links[name], self._about.writes[name].rows_schema
            print_of = dict(zip(keys_of(items, links), prints[name], strict=True))
            typed[name] = with_common_columns(made[name], schema, self._unit.shard, self._stage.name, links, print_of)
        return typed

    def _one_by_one(
        self,
        run: Callable[[Part], Generator[Work, Made, None]],
        part: Part,
        error: Exception,
        made: dict[str, list[pa.Table]],
    ) -> Generator[Work, Made, int]:
        failed = 0
        for rows in made.values():
            rows.clear()
        if part.smallest:
            self._fail(part, error, made)
            return 1
        for single in part.singly():
            try:
                yield from run(single)
            except Exception as own:
                self._fail(single, own, made)
                failed += 1
        return failed

    def _fail(self, single: Part, error: Exception, made: dict[str, list[pa.Table]]) -> None:
        # Not raised again anywhere: its traceback would hold on to the workers, and these to their processes.
        message = f"{type(error).__name__}: {error}"[:_MESSAGE_LIMIT]
        level = logging.WARNING if single.segments == 1 else logging.INFO
        _log.log(level, "%s failed on %s: %s", self._stage.name, self._unit.source, message)
        for name, rows in made.items():
            rows.append(self._failure(name, single.start, error, 1))

    def _failure(self, name: str, position: int, error: Exception, attempt: int) -> pa.Table:
        item = self._item_row(position)
        row = {
            **{column: item[column] for column in self._about.links[name]},
            "shard": self._unit.shard,
            "status": "failed",
            "error": {
                "stage": self._stage.name,
                "type": type(error).__name__,
                "message": _sentence(error)[:_MESSAGE_LIMIT],
                "attempt": attempt,
            },
            "fingerprint": self._fingerprints[name][self.pending[position]],
        }
        return pa.Table.from_pylist([row], schema=self._about.writes[name].rows_schema)

    def _item_row(self, position: int) -> Row:
        return self._items.slice(self.pending[position], 1).to_pylist()[0]

    def _tally(
        self,
        computed: int,
        failed: int,
        watch: Stopwatch | SharedStopwatch | None = None,
        made: Mapping[str, Sequence[pa.Table]] | None = None,
    ) -> None:
        """Count what was done; `made` are the new rows, by table."""
        seconds, cpu_seconds = watch.spent if watch is not None else (0.0, 0.0)
        made = made or {}
        tables = [(self._about.writes[name], rows) for name, rows in made.items()]
        tokens = [(each.name, _sum(rows, each.name)) for table, rows in tables for each in table.columns if each.tokens]
        self._unit.tallies.append(
            {
                "stage": self._stage.name,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                "gpu_seconds": seconds * self._stage.needs.gpus,
                "computed": computed,
                "reused": 0,
                "failed": failed,
                "bytes": sum(_sum(rows, "bytes") for table, rows in tables if table.has("bytes")),
                "tokens": [{"name": name, "count": count} for name, count in tokens if count],
                "failures": _failures(next(iter(made.values()), ())) if failed else [],
            }
        )


def _sum(parts: Sequence[pa.Table], column: str) -> int:
    return sum(value or 0 for rows in parts for value in rows[column].to_pylist())


def _failures(parts: Sequence[pa.Table]) -> list[dict[str, Any]]:
    """The failed rows of one table by the type of their error: those of another table are about the same items."""
    rows = [row for part in parts for row in part.select(["status", "error"]).to_pylist()]
    counts = Counter(row["error"]["type"] for row in rows if row["status"] == "failed")
    return [{"name": name, "count": count} for name, count in counts.items()]


def _sentence(error: Exception) -> str:
    """What a row says of an error: of one of the system, what it is about and the remedy."""
    known = operating_error(error) if isinstance(error, (OSError, MemoryError)) else None
    return str(known or error)

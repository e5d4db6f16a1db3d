"""The same functions on other tables: they see tables and sections under the names that they were written with."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from curate_assets.graph.platform import PlatformConfig
from curate_resources.declarations.stage import ClosedWorker, LiveWorker, Made, Stage, Work, Worker
from curate_resources.declarations.table import Table
from curate_resources.storage.root import Storage

Value = TypeVar("Value")

Seen = Mapping[str, str]
"""By the name that functions were written with, the name of the asset that they see under it."""


def renamed(table: Table, seen: Seen) -> Table:
    """The table that functions see: with its own name, sections and model."""
    if seen.keys().isdisjoint((table.name, *table.sections)):
        return table
    return replace(
        table,
        name=seen.get(table.name, table.name),
        sections=tuple(seen.get(section, section) for section in table.sections),
        model=partial(_of_config, table.model, seen) if table.model else None,
    )


def settings_under(config: Any, seen: Seen) -> Any:
    """A configuration in which the sections of what is seen are found under the written names."""
    sections = {written: getattr(config, actual) for written, actual in seen.items() if hasattr(config, actual)}
    return config.model_copy(update=sections)


def renamed_stage(stage: Stage, table: Table, seen: Seen) -> Stage:
    """A stage that fills `table`, and whose functions see other tables. One that fills several tables, and reads none
    of these, is the same: its worker is told by their own names which to fill.

    Raises:
        ValueError: it fills several tables, divides items, or would see two tables under one name.
    """
    if len(stage.writes) > 1 and seen.keys().isdisjoint(stage.inputs):
        return stage
    inputs = [seen.get(name, name) for name in stage.inputs]
    if len(stage.writes) > 1 or stage.segments is not None or len({*inputs}) < len({*stage.inputs}):
        raise ValueError(f"stage {stage.name} cannot see other tables: {', '.join(sorted(seen.values()))}")
    return replace(
        stage,
        item=seen.get(stage.item, stage.item),
        reads=tuple(seen.get(name, name) for name in stage.reads),
        gates=tuple(seen.get(name, name) for name in stage.gates),
        writes=(table,),
        open=partial(_opened, stage.open, seen),
        needs_of=partial(_of_config, stage.needs_of, seen) if stage.needs_of else None,
        idle=partial(_of_config, stage.idle, seen) if stage.idle else None,
        unread=partial(_unread, stage.unread, seen) if stage.unread else None,
        eligible=partial(_eligible, stage.eligible, seen) if stage.eligible else None,
        prepare=partial(_prepare, stage.prepare, seen) if stage.prepare else None,
    )


def _of_config(function: Any, seen: Seen, config: PlatformConfig) -> Any:
    return function(settings_under(config, seen))


def _unread(unread: Any, seen: Seen, config: PlatformConfig) -> frozenset[str]:
    return frozenset(seen.get(name, name) for name in _of_config(unread, seen, config))


def _prepare(prepare: Any, seen: Seen, config: PlatformConfig, storage: Storage) -> None:
    prepare(settings_under(config, seen), storage)


def _eligible(
    eligible: Any, seen: Seen, config: PlatformConfig, items: pa.Table, inputs: Mapping[str, pa.Table]
) -> list[bool]:
    return eligible(settings_under(config, seen), items, _as_written(inputs, seen))


def _opened(open_worker: Any, seen: Seen, config: PlatformConfig, storage: Storage) -> Worker | LiveWorker:
    worker: Worker | LiveWorker = open_worker(settings_under(config, seen), storage)
    if isinstance(worker, LiveWorker):
        return _RenamedLiveWorker(worker, seen)
    work = partial(_worked, worker, seen)
    return ClosedWorker(work, worker.close) if isinstance(worker, ClosedWorker) else work


def _worked(worker: Worker, seen: Seen, work: Work) -> Made:
    return _as_stored(worker(_work(work, seen)), seen)


class _RenamedLiveWorker(LiveWorker):
    def __init__(self, worker: LiveWorker, seen: Seen) -> None:
        self._worker, self._seen = worker, seen

    async def rows(self, work: Work) -> Made:
        return _as_stored(await self._worker.rows(_work(work, self._seen)), self._seen)

    async def close(self) -> None:
        await self._worker.close()


def _work(work: Work, seen: Seen) -> Work:
    early = work.early
    return replace(
        work,
        inputs=_as_written(work.inputs, seen),
        wanted=frozenset(_as_written(dict.fromkeys(work.wanted), seen)),
        fingerprints=_as_written(work.fingerprints, seen),
        early=(lambda rows: early(_as_stored(rows, seen))) if early else None,
    )


def _as_written(by_table: Mapping[str, Value], seen: Seen) -> dict[str, Value]:
    written = {actual: name for name, actual in seen.items()}
    return {written.get(name, name): value for name, value in by_table.items()}


def _as_stored(by_table: Mapping[str, Value], seen: Seen) -> dict[str, Value]:
    return {seen.get(name, name): value for name, value in by_table.items()}

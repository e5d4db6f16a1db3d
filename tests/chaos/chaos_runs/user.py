"""`python -m chaos_runs.user ORDER`: what a user asks for, in a process of its own, with `Control` attached.

Prints every claim of a commit as an event `claimed`, and at last `ended` with the error, if there was one.
"""

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from chaos_runs.control import Control

Scope = Literal["curation", "resumed", "delivery"]
"""`curation` starts from nothing, `resumed` from a root that was scanned before, `delivery` from selected clips."""
Way = Literal["plan", "dagster"]


@dataclass(frozen=True)
class Order:
    """What is to be done: `way` calls the plan itself, or has Dagster do it."""

    root: str
    control: str
    scope: Scope
    way: Way
    settings: dict[str, Any]


class RunFailed(Exception):
    """A Dagster run that did not succeed; the message is its."""


_DUPLICATES = frozenset({"duplicate_pairs", "duplicate_groups"})


def wanted(scope: Scope) -> frozenset[str]:
    """The tables that a scope fills."""
    from curate_assets.video.graph import VIDEO

    stages = VIDEO.phases[1].stages if scope == "delivery" else VIDEO.phases[0].stages
    names = frozenset(table.name for stage in stages for table in stage.writes)
    return names | _DUPLICATES if scope == "delivery" else names


def _by_plan(order: Order) -> Iterator[dict[str, Any]]:
    from curate_assets.orchestration.engines import materialized
    from curate_assets.settings.resolve import validated
    from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS, group_duplicates
    from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS, measure_pairs
    from curate_assets.video.graph import VIDEO
    from curate_resources.pipeline.commit import committed
    from curate_resources.sources.manifests import Manifests
    from curate_resources.storage.root import Storage
    from curate_resources.tables.lance_tables import Tables

    config, tables = validated(order.settings), Tables(Storage(order.root))
    shards = Manifests(tables.storage).shards()
    stages = VIDEO.phases[0].stages
    if order.scope == "delivery":
        for shard in shards:
            rows = measure_pairs(tables, shard, config.duplicate_pairs)
            yield asdict(committed(DUPLICATE_PAIRS, shard, tables.swap(DUPLICATE_PAIRS, shard, rows), rows))
        tables.replace(DUPLICATE_GROUPS, group_duplicates(tables, config.duplicate_groups))
        stages = VIDEO.phases[1].stages
    plan = VIDEO.plan(wanted(order.scope) - _DUPLICATES, config, order.root, stages=stages)
    for done in materialized(plan, shards):
        yield asdict(done)


def _by_dagster(order: Order) -> None:
    from curate_assets.orchestration.runs import dagster_instance, register_shards, run_assets
    from curate_resources.sources.manifests import Manifests
    from curate_resources.storage.root import Storage

    shards = Manifests(Storage(order.root)).shards()
    with dagster_instance(order.root) as instance:
        register_shards(instance, shards)
        curation = {"root": order.root, **order.settings}
        errors = [run.error for run in run_assets(instance, wanted(order.scope), shards, curation) if run.error]
    if errors:
        raise RunFailed(errors[0])


def main(order: Order) -> int:
    """Do it.

    Returns:
        The exit code: 0, or 1 after an error.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored by what it starts
    control = Control(Path(order.control))
    control.attach()
    try:
        if order.way == "plan":
            for claim in _by_plan(order):
                control.say("claimed", **claim)
        else:
            _by_dagster(order)
    except Exception as error:
        control.say("ended", error=f"{type(error).__name__}: {error}")
        return 1
    control.say("ended", error=None)
    return 0


if __name__ == "__main__":
    sys.exit(main(Order(**json.loads(sys.argv[1]))))

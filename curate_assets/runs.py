"""Running assets of the graph in this process: what `curate materialize` and the demo do, with less start-up.

Dagster's own commands and the UI run the same assets; this is only a shorter way to them. Per-shard assets run in
ranges of shards, in the order of the graph; assets that look at all shards run once all of those are through.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance

from curate_assets.asset_graph import defs
from curate_assets.partitions import SHARDS
from curate_assets.streamed import SHARDS_PER_RUN
from curate_resources.storage import is_local
from gpu_kernels.errors import UserError

_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

_SETTINGS = Path(__file__).with_name("dagster.yaml")


@dataclass(frozen=True)
class RunOutcome:
    """One Dagster run; `error` is None when it succeeded. Checks that only warn are no failures."""

    assets: tuple[str, ...]
    shards: tuple[str, ...]
    run_id: str
    error: str | None
    failed_checks: tuple[str, ...]
    check_warnings: tuple[str, ...] = ()


def dagster_instance(root: str) -> DagsterInstance:
    """The instance that keeps partitions and history: `DAGSTER_HOME` if set, else `<root>/dagster`.

    Raises:
        UserError: the root is no local folder and `DAGSTER_HOME` is not set.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        if not is_local(root):
            raise UserError(
                f"the root {root} is not on this machine: set DAGSTER_HOME to a local folder for Dagster's state"
            )
        home = str(Path(root) / "dagster")
        os.environ["DAGSTER_HOME"] = home
    Path(home).mkdir(parents=True, exist_ok=True)
    settings = Path(home) / "dagster.yaml"
    if not settings.exists():
        settings.write_bytes(_SETTINGS.read_bytes())
    return DagsterInstance.get()


def register_shards(instance: DagsterInstance, shards: Sequence[str]) -> list[str]:
    """Make shards partitions; returns the keys that are new."""
    assert SHARDS.name is not None
    known = set(instance.get_dynamic_partitions(SHARDS.name))
    new = [shard for shard in sorted(shards) if shard not in known]
    if new:
        instance.add_dynamic_partitions(SHARDS.name, new)
    return new


def run_assets(
    instance: DagsterInstance, wanted: frozenset[str], shards: Sequence[str], curation: dict[str, Any]
) -> Iterator[RunOutcome]:
    """Materialize assets; stops after the first step of the graph with a failure, with all its shards tried.

    Args:
        shards: partitions for the per-shard assets.
        curation: config of the `curation` resource.
    """
    return run_targets(instance, {name: tuple(shards) for name in wanted}, curation)


def run_targets(
    instance: DagsterInstance, targets: Mapping[str, Sequence[str]], curation: dict[str, Any]
) -> Iterator[RunOutcome]:
    """As `run_assets`, with shards for each asset; of those that are made for all shards at once, they do not count."""
    order = list(instance.get_dynamic_partitions(SHARDS.name or ""))
    for assets in _assets():
        chosen = sorted(targets.keys() & {key.to_user_string() for key in assets.keys})
        if not chosen:
            continue
        runs: list[tuple[list[str], tuple[str, ...]]] = [(chosen, ())]
        if assets.partitions_def is not None:
            runs = [(names, run) for names, shards in _alike(chosen, targets) for run in _ranges(order, shards)]
        failed = False
        for names, run in runs:
            outcome = _run(instance, names, run, curation)
            failed = failed or outcome.error is not None
            yield outcome
        if failed:
            return


def _alike(chosen: Sequence[str], targets: Mapping[str, Sequence[str]]) -> list[tuple[list[str], list[str]]]:
    """Shards of which the same assets are wanted, with these."""
    wanted: dict[str, list[str]] = {}
    for name in chosen:
        for shard in targets[name]:
            wanted.setdefault(shard, []).append(name)
    groups: dict[tuple[str, ...], list[str]] = {}
    for shard, names in sorted(wanted.items()):
        groups.setdefault(tuple(names), []).append(shard)
    return [(list(names), shards) for names, shards in groups.items()]


def _assets() -> list[dg.AssetsDefinition]:
    return [assets for assets in defs.assets or [] if isinstance(assets, dg.AssetsDefinition)]


def _ranges(order: Sequence[str], shards: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Shards as runs of neighbours in Dagster's order, each no longer than a run of a backfill."""
    run: list[str] = []
    wanted = set(shards)
    for key in order:
        if key in wanted:
            run.append(key)
        if run and (key not in wanted or len(run) == SHARDS_PER_RUN):
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _run(instance: DagsterInstance, assets: list[str], shards: tuple[str, ...], curation: dict[str, Any]) -> RunOutcome:
    tags = {_RANGE_START: shards[0], _RANGE_END: shards[-1]} if len(shards) > 1 else None
    result = dg.materialize(
        _assets(),
        selection=assets,
        instance=instance,
        resources=defs.resources,
        partition_key=shards[0] if len(shards) == 1 else None,
        tags=tags,
        run_config={
            "resources": {"curation": {"config": curation}},
            "execution": {"config": {"retries": {"disabled": {}}}},  # who waits at a terminal is told at once
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
    )
    failures = [event.event_specific_data for event in result.all_events if event.is_failure]
    message = None
    if not result.success:
        errors = [getattr(data, "error", None) for data in failures]
        causes = [error for error in errors if error is not None]
        message = _innermost(causes[0]) if causes else "the run failed: see it in the UI"
    failed, warned = _failed_checks(result.get_asset_check_evaluations())
    return RunOutcome(
        tuple(assets),
        shards,
        result.run_id,
        message,
        failed,
        warned,
    )


def _failed_checks(evaluations: Sequence[dg.AssetCheckEvaluation]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that are errors, and those that only warn, each named once however many shards it failed on."""
    named: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for each in evaluations:
        if not each.passed:
            error = each.severity == dg.AssetCheckSeverity.ERROR
            named[error][f"{each.asset_key.to_user_string()}: {each.check_name}"] = None
    return tuple(named[True]), tuple(named[False])


def _innermost(error: Any) -> str:
    while error.cause is not None:
        error = error.cause
    return error.message.strip()

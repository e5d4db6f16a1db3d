"""Running assets of the graph in this process: what `curate materialize` and the demo do, with less start-up.

A run is the one that the UI would launch: of the same job, with its assets and partitions, and repeatable there.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
)
from dagster._core.utils import make_new_run_id

from curate_assets.orchestration.asset_graph import defs
from curate_assets.orchestration.backfills import own_backfill
from curate_assets.orchestration.code_location import job_code, job_origin
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.run_executor import OWN
from curate_resources.engines import interruption
from curate_resources.storage.root import is_local
from gpu_kernels.errors import UserError

_SHARDS_PER_RUN = 100
"""A run's page shows all its events; those of more shards are more than it can."""

_SHOWN_FINDINGS = 6

_LOGGER = logging.getLogger("curate")

_SETTINGS = Path(__file__).with_name("dagster.yaml")


@dataclass(frozen=True)
class RunOutcome:
    """One Dagster run; `error` is None when it succeeded. Checks that only warn are no failures.

    Attributes:
        bug: whether the error is one of the program itself; its traceback is in the log.
    """

    assets: tuple[str, ...]
    shards: tuple[str, ...]
    run_id: str
    error: str | None
    failed_checks: tuple[str, ...]
    check_warnings: tuple[str, ...] = ()
    bug: bool = False


def dagster_home(root: str) -> str:
    """Where Dagster keeps its state: `DAGSTER_HOME` if set, else `<root>/dagster`; nothing is written.

    Raises:
        UserError: the root is no local folder and `DAGSTER_HOME` is not set; or Dagster cannot keep its state there.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        if not is_local(root):
            raise UserError(
                f"the root {root} is not on this machine: set DAGSTER_HOME to a local folder for Dagster's state"
            )
        home = str(Path(root) / "dagster")
    if re.search(r"\?|%[0-9A-Fa-f]{2}", home):
        raise UserError(
            f"Dagster cannot keep its state in {home}, because of the `?` or `%` in its path: set DAGSTER_HOME to "
            "another local folder"
        )
    return home


def dagster_instance(root: str) -> DagsterInstance:
    """The instance that keeps partitions and history in `dagster_home`.

    Raises:
        UserError: as `dagster_home`.
    """
    os.environ["DAGSTER_HOME"] = home = dagster_home(root)
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
    """As `run_assets`, with shards for each asset; of those that are made for all shards at once, they do not count.

    Neighbouring shards make one Dagster run; others several, which one backfill holds together in the UI.
    """
    phases = _phases(list(instance.get_dynamic_partitions(SHARDS.name or "")), targets)
    if sum(map(len, phases)) == 1:
        (((names, shards),),) = phases
        yield _run(instance, names, shards, curation, {})
        return
    with own_backfill(instance, targets, curation, "curate materialize") as backfill:
        for phase in phases:
            failed = False
            for names, shards in phase:
                outcome = _run(instance, names, shards, curation, {BACKFILL_ID_TAG: backfill})
                failed = failed or outcome.error is not None
                yield outcome
            if failed:
                return


_Run = tuple[Sequence[str], tuple[str, ...]]
"""Assets, and the neighbouring shards that they are made of."""


def _phases(order: Sequence[str], targets: Mapping[str, Sequence[str]]) -> list[list[_Run]]:
    """The runs that it takes; those of a phase need all of the phases before it."""
    steps = [(assets, sorted(targets.keys() & {key.to_user_string() for key in assets.keys})) for assets in _assets()]
    steps = [(assets, names) for assets, names in steps if names]
    wanted = {tuple(sorted(targets[name])) for assets, names in steps if assets.partitions_def for name in names}
    if not wanted:
        return [[(sorted(targets), ())]]
    if len(wanted) == 1 and len(ranges := list(_ranges(order, next(iter(wanted))))) == 1:
        return [[(sorted(targets), ranges[0])]]
    return [
        [(names, run) for names, shards in _alike(chosen, targets) for run in _ranges(order, shards)]
        if assets.partitions_def is not None
        else [(chosen, ())]
        for assets, chosen in steps
    ]


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
    """Shards as runs of neighbours in Dagster's order."""
    run: list[str] = []
    wanted = set(shards)
    for key in order:
        if key in wanted:
            run.append(key)
        if run and (key not in wanted or len(run) == _SHARDS_PER_RUN):
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _run(
    instance: DagsterInstance,
    assets: Sequence[str],
    shards: tuple[str, ...],
    curation: dict[str, Any],
    tags: Mapping[str, str],
) -> RunOutcome:
    """One run, as the UI would launch it, but in this process."""
    keys = frozenset(map(dg.AssetKey, assets))
    job = defs.resolve_implicit_global_asset_job_def()
    run_id = make_new_run_id()
    try:
        run = instance.create_run_for_job(
            job,
            run_id=run_id,
            run_config={
                "resources": {"curation": {"config": curation}},
                "execution": {"config": {"retries": {"disabled": {}}}},  # who waits at a terminal is told at once
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags={**_partition_tags(shards), MAX_RETRIES_TAG: "0", **OWN, **tags},
            asset_selection=keys,
            remote_job_origin=job_origin(job.name),
            job_code_origin=job_code(job.name),
        )
        result = execute_run(InMemoryJob(job), run, instance)
    finally:
        _see_to_cancellation(instance, run_id)
    evaluations = result.get_asset_check_evaluations()
    message, bug = (None, False) if result.success else _error_of(result, evaluations)
    failed, warned = _failed_checks(evaluations)
    return RunOutcome(tuple(assets), shards, result.run_id, message, failed, warned, bug)


def _see_to_cancellation(instance: DagsterInstance, run_id: str) -> None:
    """Dagster goes on after an interrupt, of which a failed run may be all that is left.

    Raises:
        KeyboardInterrupt: the run, or all that is still to be done, is canceled.
    """
    run = instance.get_run_by_id(run_id)
    canceled = run is not None and run.status == dg.DagsterRunStatus.CANCELED
    if not (canceled or interruption.asked()):
        return
    interruption.notice()
    if run is not None and not (canceled or run.is_success):
        instance.report_run_canceled(run)
    raise KeyboardInterrupt


def _partition_tags(shards: Sequence[str]) -> dict[str, str]:
    if not shards:
        return {}
    if len(shards) == 1:
        return {PARTITION_NAME_TAG: shards[0]}
    return {ASSET_PARTITION_RANGE_START_TAG: shards[0], ASSET_PARTITION_RANGE_END_TAG: shards[-1]}


def _failed_checks(evaluations: Sequence[dg.AssetCheckEvaluation]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that are errors, and those that only warn, each named once however many shards it failed on."""
    named: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for each in evaluations:
        if not each.passed:
            error = each.severity == dg.AssetCheckSeverity.ERROR
            named[error][f"{each.asset_key.to_user_string()}: {each.check_name}"] = None
    return tuple(named[True]), tuple(named[False])


def _blocked(evaluations: Sequence[dg.AssetCheckEvaluation]) -> str:
    """What the blocking checks that failed found, from the beginning."""
    said: list[str] = []
    for each in evaluations:
        if each.blocking and not each.passed and each.severity == dg.AssetCheckSeverity.ERROR:
            found = each.metadata.get("findings")
            rows = found.records[:_SHOWN_FINDINGS] if isinstance(found, dg.TableMetadataValue) else []
            where = f" of {each.partition}" if each.partition else ""
            said.append(f"blocking asset check failed: {each.check_name} of {each.asset_key.to_user_string()}{where}")
            said += [f"  {value}" for row in rows for value in row.data.values()]
    return "\n".join(said)


def _error_of(result: dg.JobExecutionResult, evaluations: Sequence[dg.AssetCheckEvaluation]) -> tuple[str, bool]:
    """Why a run failed, and whether that is a bug; of a bug, the traceback goes to the log."""
    failures: list[Any] = [event.event_specific_data for event in result.all_events if event.is_failure]
    failed = next((data for data in failures if getattr(data, "error", None) is not None), None)
    if failed is None:
        return "the run failed: see it in the UI", False
    error = failed.error
    if error.cls_name == "DagsterAssetCheckFailedError":
        return _blocked(evaluations), False
    if (told := getattr(failed, "user_failure_data", None)) is not None:
        return told.description, False
    _LOGGER.info("%s", error.to_string())
    while error.cause is not None:
        error = error.cause
    return error.message.strip(), True

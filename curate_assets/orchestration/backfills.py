"""Backfills: assets over any set of shards, launched through Dagster's daemon, so that the UI shows them.

What is asked for is written down as the UI does it, for each asset its own shards, neighbours or not. Shards that were
committed stay whatever becomes of the backfill, and the same call again is about the rest.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.utils import make_new_backfill_id

from curate_assets.orchestration.asset_graph import defs
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.run_executor import OWN
from gpu_kernels.errors import OperatingError, UserError

_DAEMON = "BACKFILL"
_SILENCE_SECONDS = 120
"""The daemon tells of itself every half minute."""

_POLL_SECONDS = 2.0

Targets = Mapping[str, Sequence[str]]
"""By asset, the shards to make; an asset that is made for all shards at once has none."""


class NoDaemon(OperatingError):
    """Backfills are run by Dagster's daemon, and none is there."""


class UnknownBackfill(UserError):
    """An id that no backfill has, or one that is not as it would have to be."""


@dataclass(frozen=True)
class ShardProgress:
    """How far a backfill is with one shard (empty: all at once): assets that are done, have failed, and in all."""

    shard: str
    done: int
    failed: int
    total: int


@dataclass(frozen=True)
class BackfillProgress:
    """How far a backfill is.

    Attributes:
        status: Dagster's word, such as `requested`, `completed_success`, `completed_failed` or `canceled`.
        ended: whether nothing more comes.
        running, failed_runs: of its runs.
        error: why Dagster could not go on with it; empty if it can.
    """

    id: str
    status: str
    ended: bool
    shards: tuple[ShardProgress, ...]
    running: int
    failed_runs: int
    error: str

    @property
    def succeeded(self) -> bool:
        """Whether it is through, and everything was made."""
        return self.status == BulkActionStatus.COMPLETED_SUCCESS.value.lower()


def launch_backfill(
    instance: DagsterInstance, targets: Targets, curation: dict[str, Any], description: str
) -> tuple[str, bool]:
    """Have Dagster make assets, unless a backfill that is on its way will do so.

    Args:
        curation: config of the `curation` resource.
        description: what the UI says of it.

    Returns:
        The backfill's id, and whether it is new.

    Raises:
        NoDaemon: there is none that would take it up.
    """
    require_daemon(instance)
    backfill = _backfill_of(instance, targets, curation, "curate backfill", description)
    if (known := _on_its_way(instance, backfill)) is not None:
        return known, False
    instance.add_backfill(backfill)
    return backfill.backfill_id, True


def _on_its_way(instance: DagsterInstance, asked: PartitionBackfill) -> str | None:
    """A backfill of the daemon, the UI's or one of ours, that will make all that is asked for, by the same settings."""
    graph = defs.resolve_asset_graph()
    wanted = asked.get_asset_backfill_data(graph).target_subset
    for other in instance.get_backfills(BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])):
        if not other.is_asset_backfill or OWN.items() <= other.tags.items() or _given(other) != _given(asked):
            continue
        data: AssetBackfillData = other.get_asset_backfill_data(graph)
        coming = data.target_subset - data.materialized_subset - data.failed_and_downstream_subset
        if (wanted - coming).is_empty:
            return other.backfill_id
    return None


def _given(backfill: PartitionBackfill) -> Any:
    """A backfill's settings but for the root: an instance is of one."""
    config: Any = backfill.run_config or {}
    given = config.get("resources", {}).get("curation", {}).get("config", {})
    return {name: value for name, value in given.items() if name != "root"}


@contextmanager
def own_backfill(instance: DagsterInstance, targets: Targets, curation: dict[str, Any], title: str) -> Generator[str]:
    """A backfill whose runs this process makes itself, under the id that is given; no daemon launches any for it.

    Its record says how it ended when this is left.
    """
    backfill = _backfill_of(instance, targets, curation, title, "Its runs are made by the command itself.", OWN)
    data = backfill.get_asset_backfill_data(defs.resolve_asset_graph())
    data = data.with_requested_runs_for_target_roots(True).replace_requested_subset(data.target_subset)
    instance.add_backfill(backfill.with_asset_backfill_data(data, instance, defs.resolve_asset_graph()))
    canceled = False
    try:
        yield backfill.backfill_id
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        canceled = True
        raise
    finally:
        runs = instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: backfill.backfill_id}))
        made = _subset(member for run in runs for member in _materialized(instance, run.run_id))
        made &= data.target_subset
        failed = any(run.status != DagsterRunStatus.SUCCESS for run in runs) or made != data.target_subset
        data = data._replace(materialized_subset=made, failed_and_downstream_subset=data.target_subset - made)
        status = BulkActionStatus.COMPLETED_FAILED if failed else BulkActionStatus.COMPLETED_SUCCESS
        instance.update_backfill(
            backfill.with_asset_backfill_data(data, instance, defs.resolve_asset_graph())
            .with_status(BulkActionStatus.CANCELED if canceled else status)
            .with_end_timestamp(time.time())
        )


def _backfill_of(
    instance: DagsterInstance,
    targets: Targets,
    curation: dict[str, Any],
    title: str,
    description: str,
    tags: Mapping[str, str] | None = None,
) -> PartitionBackfill:
    members = ((name, shard) for name, shards in targets.items() for shard in (shards if _partitioned(name) else [""]))
    return PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        backfill_timestamp=time.time(),
        tags=tags or {},
        dynamic_partitions_store=instance,
        asset_graph_subset=_subset(members),
        title=title,
        description=description,
        run_config={"resources": {"curation": {"config": curation}}},
    )


def _partitioned(asset: str) -> bool:
    return defs.resolve_asset_graph().get(dg.AssetKey(asset)).is_partitioned


def require_daemon(instance: DagsterInstance) -> None:
    """See that a daemon runs backfills.

    Raises:
        NoDaemon: none has told of itself lately.
    """
    beat = instance.get_daemon_heartbeats().get(_DAEMON)
    if beat is None or time.time() - beat.timestamp > _SILENCE_SECONDS:
        raise NoDaemon(
            f"no Dagster daemon runs for {instance.root_directory}: `curate ui` starts one; "
            "or use --here to run in this process"
        )


def cancel_backfill(instance: DagsterInstance, backfill_id: str) -> None:
    """Have the daemon end a backfill and its runs. Shards that were committed stay.

    Raises:
        UnknownBackfill: there is none of this id, or it has ended.
        NoDaemon: there is none that would do it.
    """
    backfill = _backfill(instance, backfill_id)
    if backfill.status in BULK_ACTION_TERMINAL_STATUSES:
        raise UnknownBackfill(f"backfill {backfill_id} has ended already: {backfill.status.value.lower()}")
    require_daemon(instance)
    instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELING))


def progress_of(instance: DagsterInstance, backfill_id: str) -> BackfillProgress:
    """How far a backfill is now.

    Raises:
        UnknownBackfill: there is none of this id.
    """
    return next(followed(instance, backfill_id))


def followed(instance: DagsterInstance, backfill_id: str) -> Iterator[BackfillProgress]:
    """How far a backfill is, again and again until it has ended.

    Raises:
        UnknownBackfill: there is none of this id.
    """
    of_ended: dict[str, set[tuple[str, str]]] = {}
    while True:
        backfill = _backfill(instance, backfill_id)  # first: its runs cannot be behind it then
        done: set[tuple[str, str]] = set()
        running = failed = 0
        for run in instance.get_runs(RunsFilter(tags={BACKFILL_ID_TAG: backfill_id})):
            found = of_ended.get(run.run_id) or _materialized(instance, run.run_id)
            done |= found
            if run.status in NOT_FINISHED_STATUSES:
                running += 1
            else:
                of_ended[run.run_id] = found
            failed += run.status == DagsterRunStatus.FAILURE
        yield _progress(backfill, done, running, failed)
        if backfill.status in BULK_ACTION_TERMINAL_STATUSES:
            return
        time.sleep(_POLL_SECONDS)


def _progress(
    backfill: PartitionBackfill, done: set[tuple[str, str]], running: int, failed_runs: int
) -> BackfillProgress:
    data: AssetBackfillData = backfill.get_asset_backfill_data(defs.resolve_asset_graph())
    failed = _members(data.failed_and_downstream_subset) - done
    shards: dict[str, list[tuple[str, str]]] = {}
    for member in _members(data.target_subset):
        shards.setdefault(member[1], []).append(member)
    return BackfillProgress(
        id=backfill.backfill_id,
        status=backfill.status.value.lower(),
        ended=backfill.status in BULK_ACTION_TERMINAL_STATUSES,
        shards=tuple(
            ShardProgress(
                shard,
                done=sum(member in done for member in members),
                failed=sum(member in failed for member in members),
                total=len(members),
            )
            for shard, members in sorted(shards.items(), key=lambda each: (not each[0], each[0]))
        ),
        running=running,
        failed_runs=failed_runs,
        error=backfill.error.message.strip() if backfill.error else "",
    )


def _subset(members: Iterable[tuple[str, str]]) -> AssetGraphSubset:
    """The inverse of `_members`."""
    shards: dict[str, set[str]] = {}
    for name, shard in members:
        shards.setdefault(name, set()).add(shard)
    return AssetGraphSubset(
        partitions_subsets_by_asset_key={
            dg.AssetKey(name): SHARDS.subset_with_partition_keys(own) for name, own in shards.items() if "" not in own
        },
        non_partitioned_asset_keys={dg.AssetKey(name) for name, own in shards.items() if "" in own},
    )


def _members(subset: AssetGraphSubset) -> set[tuple[str, str]]:
    """Assets and shards; no shard for an asset that is made for all of them at once."""
    whole = {(key.to_user_string(), "") for key in subset.non_partitioned_asset_keys}
    parts = subset.partitions_subsets_by_asset_key.items()
    return whole | {(key.to_user_string(), shard) for key, part in parts for shard in part.get_partition_keys()}


def _materialized(instance: DagsterInstance, run_id: str) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.get_dagster_event()
        if event.asset_key is not None:
            found.add((event.asset_key.to_user_string(), event.partition or ""))
    return found


def _backfill(instance: DagsterInstance, backfill_id: str) -> PartitionBackfill:
    backfill = instance.get_backfill(backfill_id)
    if backfill is None or not backfill.is_asset_backfill:
        raise UnknownBackfill(
            f"there is no backfill {backfill_id!r} of assets: the UI lists them under Runs, Backfills"
        )
    return backfill

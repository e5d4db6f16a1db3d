"""Sensors: one that watches each source, and one that tells of runs that failed."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from curate_assets.orchestration.partitions import SHARDS
from curate_assets.settings.presets import preset_errors
from curate_resources.declarations.units import UnitTable
from curate_resources.sources.declared import Source
from curate_resources.sources.discovery import Discovery
from curate_resources.storage.root import Storage

_RUNS_PER_TICK = 50
_KEYS_AT_ONCE = 5000
_WEBHOOK_SECONDS = 10
_STARTED_AGAIN = "dagster/will_retry"
"""The tag that Dagster gives to failed runs, where its retries are on."""


def source_sensor(
    units: UnitTable, storage: Storage, name: str, source: Source, target: Sequence[str], on: bool
) -> dg.SensorDefinition:
    """A sensor that looks for new units at a source and makes partitions of the shards that it closed.

    Its cursor is the number of shards that are registered, of each series. It is kept by Dagster after a look's
    manifests and place are written, so a tick that dies in between leaves shards that the next one registers.
    """

    nouns = units.files.nouns

    @dg.sensor(
        name=f"watch_{name.replace('-', '_')}",
        description=f"Looks for new {nouns} at {source.uri}, and makes shards of it: {name}-000000 and so on.",
        minimum_interval_seconds=source.every_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
        target=dg.AssetSelection.assets(*target),
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if source.preset is not None:
            for error in preset_errors(storage, [source.preset]):
                raise error  # before there are shards that cannot be made
        discovery = Discovery(storage, name, source, units.files)
        look = discovery.look()
        for problem in look.problems:
            context.log.warning(problem)
        cursor = {"registered": 0, "launched": 0, "late": 0, "launched_late": 0, **json.loads(context.cursor or "{}")}
        upto = look.next_shard
        keys = [discovery.shard(number) for number in range(cursor["registered"], upto)]
        keys += [discovery.late_shard(number) for number in range(cursor["late"], look.next_late)]
        assert SHARDS.name is not None
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            # Not by the tick's result: for that the daemon asks for each key by itself.
            context.instance.add_dynamic_partitions(SHARDS.name, keys[start : start + _KEYS_AT_ONCE])
        cursor["registered"], cursor["late"] = upto, max(cursor["late"], look.next_late)
        requests: list[dg.RunRequest] = []
        if source.launch:
            late_ones, others = (cursor["late"], discovery.late_shard), (upto, discovery.shard)
            for series, (end, key_of) in {"launched_late": late_ones, "launched": others}.items():
                numbers = range(cursor[series], min(end, cursor[series] + _RUNS_PER_TICK - len(requests)))
                requests += [_request(key_of(number), source.priority) for number in numbers]
                cursor[series] = numbers.stop
        rest = f"{look.waiting} {nouns} wait for a full shard, {look.unsettled - look.waiting} may still be written"
        events = f"{look.events[0]} objects written and {look.events[1]} removed; " if source.events else ""
        said = f"{events}{len(keys)} new shards; {rest}"
        context.log.info(said)
        return dg.SensorResult(
            run_requests=requests,
            cursor=json.dumps(cursor),
            skip_reason=None if requests else dg.SkipReason(said),
        )

    return watch


def _request(shard: str, priority: int) -> dg.RunRequest:
    return dg.RunRequest(run_key=shard, partition_key=shard, tags={"dagster/priority": str(priority)})


def failure_alert(webhook: str | None, on: bool) -> dg.SensorDefinition:
    """A sensor that posts every failed run to a webhook, as JSON, unless Dagster starts it again by itself."""

    @dg.run_failure_sensor(
        name="alert_of_failures",
        description="Tells `automation.webhook` of every run that failed and is not started again.",
        default_status=dg.DefaultSensorStatus.RUNNING if on and webhook else dg.DefaultSensorStatus.STOPPED,
    )
    def alert(context: dg.RunFailureSensorContext) -> None:
        import requests

        if webhook is None:
            context.log.warning("no automation.webhook is set in sources.yaml: nobody is told")
            return
        if context.dagster_run.tags.get(_STARTED_AGAIN) == "true":
            context.log.info(f"run {context.dagster_run.run_id} is started again: nobody is told")
            return
        requests.post(webhook, json=alert_of(context), timeout=_WEBHOOK_SECONDS).raise_for_status()

    return alert


def alert_of(context: dg.RunFailureSensorContext) -> dict[str, Any]:
    """What is reported about a failed run."""
    run = context.dagster_run
    shards = [
        value
        for tag, value in sorted(run.tags.items())
        if tag.startswith(("dagster/partition", "dagster/asset_partition_range"))
    ]
    return {
        "text": f"Curate Graph: run {run.run_id} failed: {context.failure_event.message}",
        "run_id": run.run_id,
        "job": run.job_name,
        "assets": sorted(key.to_user_string() for key in run.asset_selection or ()),
        "shards": shards,
        "error": context.failure_event.message,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }

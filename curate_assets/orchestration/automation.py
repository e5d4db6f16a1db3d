"""What goes on by itself: new shards are curated, duplicates grouped, clips delivered, sources audited, tables kept.

All of it is declared always, so that the UI shows it, and off until `automation.enabled` in `sources.yaml`.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from curate_assets.graph.graph import Asset, Graph, Phase
from curate_assets.orchestration.partitions import SHARDS
from curate_assets.orchestration.resource import Curation
from curate_assets.orchestration.sensors import failure_alert, source_sensor
from curate_resources.sources.audit import audit
from curate_resources.sources.declared import Sources
from curate_resources.sources.discovery import Discovery
from curate_resources.storage.root import Storage
from curate_resources.tables.upkeep import keep_up

_WARN_SHARE = 0.75

CURATED = dg.AutomationCondition.on_missing().with_label("new shard")
"""For what is made of a shard's own videos: once, when its partition is new and what it reads is there or under way."""

COMPARED = (
    dg.AutomationCondition.on_missing().without(~dg.AutomationCondition.any_deps_missing()).with_label("new shard")
)
"""Likewise, for what also reads other shards, of which some are always missing."""


def conditions(graph: Graph) -> dict[str, Any]:
    """The condition of every per-shard asset, by name."""
    found: dict[str, Any] = {}
    waits = False
    for step in graph.steps:
        if isinstance(step, Asset):
            waits = waits or not step.partitioned
            if step.partitioned:
                found[step.name] = COMPARED
        else:
            found |= {asset.name: _delivered(graph, step) if waits else CURATED for asset in step.assets}
    return found


def _delivered(graph: Graph, phase: Phase) -> Any:
    """For what awaits an asset of all shards: of the shards that have none yet, whenever that was made anew."""
    gates = {name for stage in phase.stages for name in stage.gates}
    awaited = [name for name in sorted(gates) if not graph.asset(name).partitioned]
    own = [name for name in sorted(gates) if graph.asset(name).partitioned]
    return (
        dg.AutomationCondition.any_deps_updated().allow(dg.AssetSelection.assets(*awaited))
        & dg.AutomationCondition.missing()
        & ~dg.AutomationCondition.in_progress()
        & ~dg.AutomationCondition.any_deps_missing().allow(dg.AssetSelection.assets(*own))
    ).with_label(f"{' and '.join(awaited)} made")


def kept_fresh(graph: Graph, defs: dg.Definitions, hours: float | None) -> dg.Definitions:
    """A graph's definitions, with what people rely on having to be made anew before it is so old."""
    if hours is None:
        return defs
    policy = dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=hours), warn_window=timedelta(hours=_WARN_SHARE * hours)
    )
    return defs.map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(freshness_policy=policy),
        selection=dg.AssetSelection.assets(*(asset.name for asset in graph.assets if asset.published)),
    )


def sensors(graph: Graph, storage: Storage, declared: Sources) -> list[Any]:
    """A sensor for each source, the one that evaluates the conditions, and the alert."""
    on = declared.automation.enabled
    curated = [asset.name for asset in graph.phases[0].assets]
    running = dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
    return [
        *(
            source_sensor(graph.units, storage, name, source, curated, on)
            for name, source in sorted(declared.sources.items())
        ),
        dg.AutomationConditionSensorDefinition(
            "make_new_shards",
            target=dg.AssetSelection.assets(*(asset.name for asset in graph.assets if asset.partitioned)),
            default_status=running,
            description="Makes new shards, each asset once what it is made from is there.",
        ),
        failure_alert(declared.automation.webhook, on),
    ]


def schedules(graph: Graph, declared: Sources) -> list[dg.ScheduleDefinition]:
    """What is done at fixed times: each job's schedule is named after it."""
    automation = declared.automation
    status = dg.DefaultScheduleStatus.RUNNING if automation.enabled else dg.DefaultScheduleStatus.STOPPED
    made = [
        dg.define_asset_job(job.name, dg.AssetSelection.assets(*job.assets), description=job.description)
        for job in graph.jobs
    ]
    jobs = [
        *((job, "deliver", automation.deliver) for job in made),
        (audit_job(graph, declared), "audit", automation.audit),
        (upkeep_job(graph, automation.keep_hours), "upkeep", automation.upkeep),
    ]
    return [
        dg.ScheduleDefinition(
            job=job,
            cron_schedule=cron,
            default_status=status,
            description=f"Runs {job.name}, as automation.{setting} in sources.yaml says.",
        )
        for job, setting, cron in jobs
    ]


def audit_job(graph: Graph, declared: Sources) -> dg.JobDefinition:
    """A job that lists every source whole, and registers shards of files that looks did not see."""

    @dg.op(required_resource_keys={"curation"}, description="Finds files that came late, changed, or are gone.")
    def list_sources(context: dg.OpExecutionContext) -> None:
        curation: Curation = context.resources.curation
        failed: list[str] = []
        for name, source in sorted(declared.sources.items()):
            try:
                found = audit(Discovery(curation.storage, name, source, graph.units.files))
            except OSError as error:  # of one source; the others are audited all the same
                failed.append(f"{name}: {error}")
                continue
            assert SHARDS.name is not None
            context.instance.add_dynamic_partitions(SHARDS.name, list(found.late_shards))
            context.log_event(
                dg.AssetObservation(
                    graph.units.table.name,
                    description=f"audit of {name}",
                    metadata={
                        "files": found.files,
                        "late": found.late,
                        "changed": found.changed,
                        "gone": found.gone,
                        "changed_shards": list(found.changed_shards),
                        "first_gone": list(found.first_gone),
                    },
                )
            )
        if failed:
            raise dg.Failure("; ".join(failed))

    @dg.job(
        name="audit_sources",
        description="Lists every watched source whole: late files go into shards of their own, changed ones are noted "
        "in theirs, and those that are gone are counted.",
    )
    def job() -> None:
        list_sources()

    return job


def upkeep_job(graph: Graph, keep_hours: float) -> dg.JobDefinition:
    """A job that compacts and indexes tables and removes what nothing needs, of this graph alone: tables of assets that
    others add to a root are theirs to keep."""

    @dg.op(required_resource_keys={"curation"}, description="Compacts and indexes tables; removes orphans.")
    def keep_tables(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        curation: Curation = context.resources.curation
        unneeded = graph.unneeded(curation.tables, curation.config)
        done = keep_up(curation.storage, graph.tables, keep_hours * 3600, unneeded)
        metadata = {
            "compacted": list(done.compacted),
            "indexed": list(done.indexed),
            "busy": list(done.busy),
            "orphans_removed": done.files,
            "bytes_freed": done.bytes,
        }
        yield dg.Output(None, metadata=metadata)

    @dg.job(
        name="maintain_tables",
        description="Compacts and indexes tables; removes their old versions, and files that nothing needs.",
    )
    def job() -> None:
        keep_tables()

    return job

"""What goes on by itself: new shards are curated, duplicates grouped, clips delivered, sources audited, tables kept.

All of it is declared always, so that the UI shows it, and off until `automation.enabled` in `sources.yaml`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from curate_assets.partitions import SHARDS
from curate_assets.resource import Curation
from curate_assets.sensors import failure_alert, source_sensor
from curate_assets.video.stages import TABLES
from curate_assets.video.training_dataset import TRAINING_DATASET
from curate_resources.audit import audit
from curate_resources.discovery import Discovery
from curate_resources.sources import Sources
from curate_resources.stage import Table
from curate_resources.storage import Storage
from curate_resources.upkeep import keep_up

PUBLISHED = ("training_dataset", "dataset_report")
"""What people rely on."""

OWN_TABLES: Mapping[str, Table] = {**TABLES, TRAINING_DATASET.name: TRAINING_DATASET}
"""The tables that upkeep looks after. Those of assets that others add to a root are theirs to keep."""

_WARN_SHARE = 0.75

CURATED = dg.AutomationCondition.on_missing().with_label("new shard")
"""For what is made of a shard's own videos: once, when its partition is new and what it reads is there or under way."""

COMPARED = (
    dg.AutomationCondition.on_missing().without(~dg.AutomationCondition.any_deps_missing()).with_label("new shard")
)
"""Likewise, for what also reads other shards, of which some are always missing."""

DELIVERED = (
    dg.AutomationCondition.any_deps_updated().allow(dg.AssetSelection.assets("duplicate_groups"))
    & dg.AutomationCondition.missing()
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.any_deps_missing().allow(dg.AssetSelection.assets("clip_selection"))
).with_label("duplicates are grouped")
"""For files and captions: of the shards that have none yet, whenever duplicates were grouped anew."""


def conditions(curated: Sequence[str], compared: Sequence[str], delivered: Sequence[str]) -> dict[str, Any]:
    """The condition of every per-shard asset."""
    return {
        **dict.fromkeys(curated, CURATED),
        **dict.fromkeys(compared, COMPARED),
        **dict.fromkeys(delivered, DELIVERED),
    }


def kept_fresh(graph: dg.Definitions, hours: float | None) -> dg.Definitions:
    """The graph, with what people rely on having to be made anew before it is so old."""
    if hours is None:
        return graph
    policy = dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=hours), warn_window=timedelta(hours=_WARN_SHARE * hours)
    )
    return graph.map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(freshness_policy=policy),
        selection=dg.AssetSelection.assets(*PUBLISHED),
    )


def sensors(storage: Storage, declared: Sources, per_shard: Sequence[str], curated: Sequence[str]) -> list[Any]:
    """A sensor for each source, the one that evaluates the conditions, and the alert."""
    on = declared.automation.enabled
    running = dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
    return [
        *(source_sensor(storage, name, source, curated, on) for name, source in sorted(declared.sources.items())),
        dg.AutomationConditionSensorDefinition(
            "make_new_shards",
            target=dg.AssetSelection.assets(*per_shard),
            default_status=running,
            description="Makes new shards up to duplicate_pairs; files and captions once duplicates are grouped.",
        ),
        failure_alert(declared.automation.webhook, on),
    ]


def schedules(storage: Storage, declared: Sources) -> list[dg.ScheduleDefinition]:
    """What is done at fixed times: each job's schedule is named after it."""
    automation = declared.automation
    status = dg.DefaultScheduleStatus.RUNNING if automation.enabled else dg.DefaultScheduleStatus.STOPPED
    group = dg.define_asset_job(
        "group_duplicates",
        dg.AssetSelection.assets("duplicate_groups"),
        description="Groups duplicates among the clips of all shards; then make_new_shards makes files and captions.",
    )
    publish = dg.define_asset_job(
        "publish_dataset",
        dg.AssetSelection.assets(*PUBLISHED),
        description="Writes the training set of all clip files that there are, and its report.",
    )
    jobs = [
        (group, "deliver", automation.deliver),
        (publish, "deliver", automation.deliver),
        (audit_job(declared), "audit", automation.audit),
        (upkeep_job(automation.keep_hours), "upkeep", automation.upkeep),
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


def audit_job(declared: Sources) -> dg.JobDefinition:
    """A job that lists every source whole, and registers shards of files that looks did not see."""

    @dg.op(required_resource_keys={"curation"}, description="Finds files that came late, changed, or are gone.")
    def list_sources(context: dg.OpExecutionContext) -> None:
        curation: Curation = context.resources.curation
        failed: list[str] = []
        for name, source in sorted(declared.sources.items()):
            try:
                found = audit(Discovery(curation.storage, name, source))
            except OSError as error:  # of one source; the others are audited all the same
                failed.append(f"{name}: {error}")
                continue
            assert SHARDS.name is not None
            context.instance.add_dynamic_partitions(SHARDS.name, list(found.late_shards))
            context.log_event(
                dg.AssetObservation(
                    "source_videos",
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


def upkeep_job(keep_hours: float, tables: Mapping[str, Table] = OWN_TABLES) -> dg.JobDefinition:
    """A job that compacts and indexes tables and removes what nothing points at, of these tables alone."""

    @dg.op(required_resource_keys={"curation"}, description="Compacts and indexes tables; removes orphans.")
    def keep_tables(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        curation: Curation = context.resources.curation
        done = keep_up(curation.storage, tables, keep_hours * 3600)
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
        description="Compacts and indexes tables; removes their old versions, and media files that no row points at.",
    )
    def job() -> None:
        keep_tables()

    return job

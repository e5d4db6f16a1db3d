"""Dagster's state: its storage, its daemon, and the partitions against the manifests."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_assets.graph.run_pools import POOLS
from curate_assets.orchestration.partitions import SHARDS
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import is_local, local_path

_HOME = "set DAGSTER_HOME to the folder with dagster.yaml, and see that the storage that it names runs"
_WATCH = "take run_launcher, run_monitoring and run_retries of examples/platform/dagster.yaml into dagster.yaml"
_SHOWN = 3


def storage(deployment: Deployment) -> Finding:
    """The instance opens and its run storage answers."""
    home = _home(deployment)
    if home is None:
        return failed(f"the root {deployment.storage.root} is not on this machine, and DAGSTER_HOME is not set", _HOME)
    with _instance(home) as instance:
        if instance is None:
            return warning(f"there is no Dagster state in {home} yet", "`curate add` makes it; or set DAGSTER_HOME")
        runs = instance.get_runs_count()
        kind = type(instance.run_storage).__name__
        settings = instance.get_concurrency_config()
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        watched = instance.run_monitoring_enabled and instance.run_launcher.supports_check_run_worker_health
    queue = settings.run_queue_config
    said = [f"{home}: {kind} with {runs} runs"]
    said += [f"at most {queue.max_concurrent_runs} at a time"] if queue and queue.max_concurrent_runs >= 0 else []
    said += [f"pools {', '.join(f'{name} {limit}' for name, limit in sorted(limits.items()))}"] if limits else []
    if 0 in limits.values() or (queue is not None and queue.max_concurrent_runs == 0):
        return warning("; ".join(said), "a limit of 0 lets nothing run: raise it in dagster.yaml or the UI")
    if unknown := sorted(limits.keys() - set(POOLS)):
        return warning(f"no asset is in the pools {', '.join(unknown)}", f"the pools are {', '.join(POOLS)}")
    if not watched:
        return warning("; ".join([*said, "runs that die are not noticed"]), _WATCH)
    return ok("; ".join(said))


def daemon(deployment: Deployment) -> Finding:
    """Heartbeats of the daemon, which backfills, sensors and queued runs need and `curate materialize` does not."""
    with _instance(_home(deployment)) as instance:
        if instance is None:
            return warning("not running: there is no Dagster state yet", "`curate add` makes it")
        statuses = instance.get_daemon_statuses().values()
    silent = sorted(each.daemon_type for each in statuses if each.required and not each.healthy)
    if silent:
        return warning(
            f"no heartbeat of {', '.join(silent)}: backfills, sensors and queued runs wait",
            "`curate ui` runs one, with the UI",
        )
    return ok("every daemon that is needed has a heartbeat")


def partitions(deployment: Deployment) -> Finding:
    """The registered partitions are the shards of the manifests."""
    with _instance(_home(deployment)) as instance:
        registered = set(instance.get_dynamic_partitions(SHARDS.name or "")) if instance is not None else set[str]()
    shards = set(Manifests(deployment.storage).shards())
    if unregistered := sorted(shards - registered):
        return failed(
            f"shards that are no partitions: {_few(unregistered)}",
            "`curate add` any source again with the DAGSTER_HOME that the UI uses: it registers all shards",
        )
    if without := sorted(registered - shards):
        return failed(
            f"partitions without a manifest: {_few(without)}",
            "put manifests/<shard>.json back, or delete these partitions in the Dagster UI; see also DAGSTER_HOME",
        )
    return ok(f"{len(shards)} shards are registered")


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _home(deployment: Deployment) -> Path | None:
    """As `curate_assets.orchestration.runs.dagster_instance` chooses it; nothing is made there."""
    root = deployment.storage.root
    if home := os.environ.get("DAGSTER_HOME"):
        return Path(home)
    return Path(local_path(root)) / "dagster" if is_local(root) else None


@contextmanager
def _instance(home: Path | None) -> Generator[DagsterInstance | None, None, None]:
    """The instance that a folder holds; None if none was ever made there."""
    if home is None or not (home / "dagster.yaml").is_file():
        yield None
        return
    with DagsterInstance.from_config(str(home)) as instance:
        yield instance


CHECKS = (
    Check("Dagster", storage, _HOME),
    Check("Dagster daemon", daemon, _HOME, needs=("Dagster",)),
    Check("partitions", partitions, _HOME, needs=("root", "Dagster")),
)

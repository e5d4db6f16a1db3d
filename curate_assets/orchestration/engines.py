"""From the configuration to what runs a plan: here, on a local cluster, or as a job of another one. Without Dagster."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from curate_assets.graph.platform import ClusterConfig, PlatformConfig
from curate_assets.graph.shared_work import ray_cluster_of
from curate_resources.engines.auto_engine import AutoEngine
from curate_resources.engines.environments import interpreter
from curate_resources.engines.in_process import InProcessEngine
from curate_resources.engines.ray_engine import RayEngine
from curate_resources.launchers.beginning import Patience
from curate_resources.launchers.jobs import JobServer, JobSpec, run_job
from curate_resources.launchers.kuberay import KubeRayJobs
from curate_resources.launchers.kubernetes_server import KubernetesServer
from curate_resources.launchers.ray_jobs import RayJobServer
from curate_resources.launchers.rayjob import cluster_template
from curate_resources.pipeline.commit import Materialized
from curate_resources.pipeline.plan import Plan
from curate_resources.pipeline.run import Engine, materialize
from curate_resources.telemetry.profiling import check_profile


def engine_of(config: PlatformConfig) -> Engine:
    """The engine that runs a plan whose driver is this process."""
    engine, environments = config.engine, _environments(config)
    if engine.kind == "in_process":
        return InProcessEngine(environments)
    environments = {stage: interpreter(stage, environment) for stage, environment in environments.items()}
    ray = RayEngine(ray_cluster_of(config), engine.layout, environments)
    return ray if engine.kind == "ray" else AutoEngine(ray, environments)


def materialized(plan: Plan, shards: Sequence[str]) -> Iterator[Materialized]:
    """Run a plan where its configuration says. What needs neither pixels nor models is always done here.

    Raises:
        MissingPackage: a profile is asked for that cannot be taken here.
    """
    config: PlatformConfig = plan.config
    plan = replace(plan, context=replace(plan.context, profile=config.engine.profile))
    server = _job_server(config)
    if server is None or not plan.heavy:
        check_profile(config.engine.profile)
    if server is None:
        return materialize(plan, shards, engine_of(config), config.engine.mode)
    if not plan.heavy:  # without Ray, which where jobs are only submitted may not be installed
        return materialize(plan, shards, InProcessEngine(_environments(config)), config.engine.mode)
    spec = JobSpec(
        root=plan.root,
        stages=tuple(stage.name for stage in plan.stages),
        wanted=tuple(sorted(plan.wanted)),
        shards=tuple(shards),
        config=config.model_dump(mode="json"),
        force=plan.force,
        failed_only=plan.failed_only,
        mode=config.engine.mode,
        context=plan.context,
    )
    return run_job(
        spec,
        server,
        config.cluster.python,
        answer_seconds=config.cluster.answer_seconds,
        patience=patience_of(config.cluster),
    )


def _environments(config: PlatformConfig) -> dict[str, str]:
    """By stage, the environment it needs. What names the interpreter of this run asks for nothing."""
    return {stage: name for stage, name in config.engine.environment_of.items() if name != sys.executable}


def patience_of(cluster: ClusterConfig) -> Patience:
    """How long a job waits for its cluster."""
    return Patience(cluster.queue_seconds, cluster.pending_seconds, cluster.start_seconds)


def _job_server(config: PlatformConfig) -> JobServer | None:
    cluster = config.cluster
    if cluster.mode == "cluster":
        return RayJobServer(cluster.address, cluster.token_path, cluster.answer_seconds)
    if cluster.mode == "kuberay":
        return kuberay_jobs(cluster)
    return None


def kuberay_jobs(cluster: ClusterConfig, retries: int = 8) -> KubeRayJobs:
    """What makes the RayJobs of `mode: kuberay`."""
    return KubeRayJobs(
        cluster.namespace,
        cluster_template(cluster.kuberay_template),
        cluster.labels,
        cluster.annotations,
        start_seconds=cluster.start_seconds,
        server=KubernetesServer(retries, cluster.answer_seconds),
    )

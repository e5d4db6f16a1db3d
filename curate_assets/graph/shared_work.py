"""From the configuration to the cluster, and to what does the parts of a work that is no plan."""

from curate_assets.graph.platform import PlatformConfig
from curate_resources.engines.pools import Node
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.shared_work import on_ray
from curate_resources.tables.stored_vectors import Share, in_turn


def ray_cluster_of(config: PlatformConfig) -> RayCluster:
    """The cluster of drivers in this process."""
    engine, cluster = config.engine, config.cluster
    capacity = None
    if cluster.capacity_cpus is not None:
        capacity = Node(cluster.capacity_cpus, cluster.capacity_gpus)
    return RayCluster(engine.cpus, capacity, cluster.answer_seconds, cluster.queue_seconds, cluster.gpu_memory_gib)


def share_of(config: PlatformConfig) -> Share:
    """Workers of Ray where `engine.kind` names it, else this process."""
    return on_ray(ray_cluster_of(config)) if config.engine.kind == "ray" else in_turn

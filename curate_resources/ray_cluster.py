"""Reaching a Ray cluster from the process that drives a plan: one of its own, a warm one, or the one it runs in."""

import logging
import os
import time
from dataclasses import dataclass
from typing import Any

from curate_resources.jobs import ClusterUnreachable
from curate_resources.pools import Node
from curate_resources.warm_cluster import warm_cluster

_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_worker_prestart": "0",  # idle workers that are never used cost seconds of CPU each
    "RAY_prestart_worker_first_driver": "0",
}

_PATIENCE_SECONDS = 60
"""How long a cluster may be too busy to let a driver in."""


@dataclass(frozen=True)
class RayCluster:
    """The cluster that a driver uses.

    Attributes:
        local_cpus: CPUs of a cluster of its own; None: all of this machine.
        capacity: what an autoscaling cluster can grow to, as one machine; None: what it has now.
    """

    local_cpus: int | None = None
    capacity: Node | None = None

    def connected(self) -> Any:
        """The `ray` module, connected: to the cluster that this process is part of, to the warm one, or else to one of
        its own, which ends with this process.

        Raises:
            ClusterUnreachable: the one that there should be does not answer.
        """
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        warm = warm_cluster() if "RAY_ADDRESS" not in os.environ else None
        if warm is not None:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": warm.token_path}
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)  # its log files have the rest
        if not ray.is_initialized():
            address = warm.address if warm is not None else os.environ.get("RAY_ADDRESS", "local")
            own: dict[str, Any] = (
                {"num_cpus": self.local_cpus, "include_dashboard": False} if address == "local" else {}
            )
            self._join(ray, address, own)
        return ray

    def _join(self, ray: Any, address: str, own: dict[str, Any]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                ray.init(
                    address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                    namespace="curate",
                    **own,
                )
                return
            except ConnectionError as error:
                if address == "local":
                    raise
                if time.monotonic() > deadline:
                    raise ClusterUnreachable(f"{error}: start it, or unset RAY_ADDRESS for one of your own") from error
                time.sleep(2)

    def nodes(self, with_gpus: bool) -> list[Node]:
        """The machines of the cluster.

        Args:
            with_gpus: whether GPUs matter; where they do not, a cluster of its own need not be started for the answer.
        """
        if self.capacity is not None:
            return [self.capacity]
        if not with_gpus and warm_cluster() is None and "RAY_ADDRESS" not in os.environ:
            return [Node(self.local_cpus or os.cpu_count() or 1)]
        alive = [node["Resources"] for node in self.connected().nodes() if node["Alive"]]
        return [Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in alive]

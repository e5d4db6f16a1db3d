"""Reaching a Ray cluster from the process that drives a plan: one of its own, a warm one, or the one it runs in."""

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from curate_resources.engines.patience import ClusterUnreachable, Wait, answered, saying
from curate_resources.engines.pools import Node
from curate_resources.engines.warm_cluster import WarmCluster, warm_cluster
from curate_resources.storage.retries import with_retries
from gpu_kernels.devices import gpu_count, gpu_memory_gib

_log = logging.getLogger("curate.progress")

_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_worker_prestart": "0",  # idle workers that are never used cost seconds of CPU each
    "RAY_prestart_worker_first_driver": "0",
}

_START_IT = (
    "start it, correct RAY_AUTH_TOKEN (Ray waits with a wrong one, too), or unset RAY_ADDRESS for one of your own"
)

GIB = 1 << 30
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class RayCluster:
    """The cluster that a driver uses.

    Attributes:
        local_cpus: CPUs of a cluster of its own; None: all of this machine.
        capacity: what an autoscaling cluster can grow to, as one machine; None: what it has now.
        answer_seconds: how long a cluster that does not answer is waited for.
        queue_seconds: how long a run waits for its place in a cluster that is full; None: for ever.
        gpu_memory_gib: GiB of one of its GPUs; None: the machines are asked where it matters.
    """

    local_cpus: int | None = None
    capacity: Node | None = None
    answer_seconds: float = 120.0
    queue_seconds: float | None = None
    gpu_memory_gib: float | None = None

    def connected(self) -> Any:
        """The `ray` module, connected: to the cluster that this process is part of, to the warm one, or else to one of
        its own, which ends with this process. A warm one that does not answer is left alone.

        Raises:
            ClusterUnreachable: the one that there should be does not answer.
        """
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            return sys.modules["ray"]
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        address, warm = os.environ.get("RAY_ADDRESS"), None
        if address is None and (warm := self._answering_warm_cluster()) is not None:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": warm.token_path}
            address = warm.address
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)  # its log files have the rest
        if address in (None, "local"):
            # Not in a thread: the kernel ends what a thread has started together with the thread.
            with saying("a Ray cluster of this run to start on this machine"):
                _init(ray, "local", num_cpus=self.local_cpus, num_gpus=gpu_count(), include_dashboard=False)
        else:
            self._join(ray, address, warm)
        return ray

    def ask(self, call: Callable[[], _Answer]) -> _Answer:
        """What a call to Ray gives that only returns when the head of the cluster answers.

        Raises:
            ClusterUnreachable: it does not, in good time.
        """
        return _attentively("the head of the Ray cluster", call, self.answer_seconds, "what was committed is kept")

    def nodes(self, gpu_memory: bool = False) -> list[Node]:
        """The machines of the cluster. A cluster of its own is not started for the answer.

        Args:
            gpu_memory: whether it matters how much memory their GPUs have.
        """
        if self.capacity is not None:
            return [replace(self.capacity, gpu_memory_gib=self.gpu_memory_gib)]
        started = "ray" in sys.modules and sys.modules["ray"].is_initialized()
        if not started and warm_cluster() is None and os.environ.get("RAY_ADDRESS", "local") == "local":
            gpus = gpu_count()
            size = self.gpu_memory_gib or (gpu_memory_gib() if gpus and gpu_memory else None)
            return [Node(self.local_cpus or os.cpu_count() or 1, gpus, gpu_memory_gib=size)]
        return self.present_nodes(gpu_memory)

    def present_nodes(self, gpu_memory: bool = False) -> list[Node]:
        """The machines that the cluster has now."""
        ray = self.connected()
        alive = [node for node in self.ask(ray.nodes) if node["Alive"]]
        sizes = self._asked_sizes(ray, alive) if gpu_memory and self.gpu_memory_gib is None else {}
        found: list[Node] = []
        for node in alive:
            each, size = node["Resources"], sizes.get(node["NodeID"], self.gpu_memory_gib)
            found.append(Node(each.get("CPU", 0.0), each.get("GPU", 0.0), each.get("memory", 0.0) / GIB, size))
        return found

    def _asked_sizes(self, ray: Any, alive: list[Any]) -> dict[str, float | None]:
        """What each machine with GPUs says of their memory."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked: dict[str, Any] = {}
        for node in alive:
            if node["Resources"].get("GPU"):
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked[node["NodeID"]] = ray.remote(num_cpus=0, scheduling_strategy=there)(gpu_memory_gib).remote()
        return dict(zip(asked, self.ask(lambda: ray.get(list(asked.values()))), strict=True))

    def _answering_warm_cluster(self) -> WarmCluster | None:
        warm = warm_cluster()
        if warm is None or warm.answers(self.answer_seconds):
            return warm
        _log.warning(
            "the warm cluster at %s does not answer: this run starts one of its own; `curate down` ends the warm one",
            warm.address,
        )
        return None

    def _join(self, ray: Any, address: str, warm: WarmCluster | None) -> None:
        what = f"the {'warm' if warm is not None else 'Ray'} cluster at {address}"
        remedy = "`curate down` ends it" if warm is not None else _START_IT
        wait = Wait(what, self.answer_seconds)

        def join() -> None:
            _attentively(what, lambda: _init(ray, address), max(1.0, self.answer_seconds - wait.seconds), remedy)

        def away(error: BaseException) -> bool:
            return isinstance(error, ConnectionError) and wait.go_on(str(error))

        try:
            with_retries(join, away, None, lambda _: 2.0)
        except ConnectionError as error:
            raise ClusterUnreachable(f"{error}: {remedy}") from error


def _init(ray: Any, address: str, **own: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
            namespace="curate",
            **own,
        )
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own ends the process with exit code 15


_unanswered: list[threading.Event] = []
"""Calls to Ray that were given up and have not returned since."""


def _attentively(what: str, call: Callable[[], _Answer], most_seconds: float, remedy: str) -> _Answer:
    """As `answered`. After a call that was given up Ray is not asked again, and not waited for when this process ends.

    Raises:
        ClusterUnreachable: there was no answer in time, or none to an earlier call.
    """
    if any(not returned.is_set() for returned in _unanswered):
        raise ClusterUnreachable(f"{what} has not answered an earlier question: {remedy}")
    returned = threading.Event()

    def ask() -> _Answer:
        try:
            return call()
        finally:
            returned.set()

    try:
        return answered(what, ask, most_seconds, remedy)
    except ClusterUnreachable:
        if not returned.is_set():
            _unanswered.append(returned)
        raise


@atexit.register
def _leave() -> None:
    """Ray's own farewell would wait for the head, and its threads crash a process that ends under them."""
    if any(not returned.is_set() for returned in _unanswered):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

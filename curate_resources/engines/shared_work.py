"""Work on several Ray workers that is given out in parts."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.tables.stored_vectors import Share

_AHEAD = 2
"""Parts for each CPU that are given out before the result of the first is wanted: results take memory."""


def on_ray(cluster: RayCluster) -> Share:
    """What calls a function with what all parts have in common and with each part, in tasks of one CPU each.

    What is in common is stored once, and workers of a node share its arrays. Results come in the order of the parts,
    and an error as the function raised it.
    """

    def share(function: Callable[[Any, Any], Any], common: Any, parts: Sequence[Any]) -> Iterator[Any]:
        ray = cluster.connected()
        task, stored = ray.remote(num_cpus=1)(function), ray.put(common)
        most = _AHEAD * max(1, int(sum(node.cpus for node in cluster.nodes())))
        given: deque[Any] = deque()

        def first() -> Any:
            try:
                return ray.get(given.popleft())
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error

        for part in parts:
            if len(given) == most:
                yield first()
            given.append(task.remote(stored, part))
        while given:
            yield first()

    return share

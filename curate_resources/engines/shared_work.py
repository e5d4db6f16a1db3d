"""Work on several Ray workers that is given out in parts."""

from collections.abc import Callable, Sequence
from typing import Any


def on_ray(function: Callable[[Any, Any], Any], common: Any, parts: Sequence[Any]) -> list[Any]:
    """Calls a function with what all parts have in common and with each part, in tasks of one CPU each, on the cluster
    that this process is connected to. What is in common is stored once, and workers of a node share its arrays.

    Returns:
        The results, in the order of the parts.
    """
    import ray

    task = ray.remote(num_cpus=1)(function)
    stored = ray.put(common)
    return ray.get([task.remote(stored, part) for part in parts])

"""The assets that other packages bring.

A package brings assets by an entry point of the group `curate.assets`, which names an `Asset` or a sequence of them.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from curate_assets.graph.graph import Asset
from gpu_kernels.errors import UserError

ENTRY_POINTS = "curate.assets"


def _brought() -> Iterator[Asset]:
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        found = _loaded(entry)
        assets: Sequence[Any] = [found] if isinstance(found, Asset) else list(found)
        for asset in assets:
            if not isinstance(asset, Asset):
                raise UserError(f"{_named(entry)} names {type(asset).__name__}, not an Asset or a sequence of them")
            yield asset


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise UserError(
            f"{_named(entry)} cannot be loaded: {type(error).__name__}: {error}; fix or remove it"
        ) from error


def _named(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else "a package"
    return f"{package}: the entry point {entry.name} = {entry.value} of {ENTRY_POINTS}"


BROUGHT = tuple(_brought())

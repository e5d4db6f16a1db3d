"""Assets that are found: in the modules of a package, and in the entry points of other packages."""

import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

from curate_assets.graph.graph import Asset, Graph
from gpu_kernels import packages
from gpu_kernels.errors import UserError

ASSETS_GROUP = "curate.assets"
"""Entry points of this group name an `Asset` or a sequence of them."""

MEASUREMENTS_GROUP = "curate.measurements"
"""Likewise, of assets whose scores clips are selected by: they are loaded before the selection is declared."""

GRAPHS_GROUP = "curate.graphs"
"""Entry points of this group name a `Graph`, by its own name."""


def assets_in(package: ModuleType) -> tuple[Asset, ...]:
    """The assets of the modules of a package and of the packages in it: each module has an `ASSET`, or `ASSETS` where
    one stage makes several; what these are made of may be in modules of their names.

    Raises:
        ValueError: a module has neither, and no other has an asset of its name.
    """
    found: list[Asset] = []
    without: list[ModuleType] = []
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = import_module(each.name)
        if each.ispkg:
            continue
        declared = [module.ASSET] if hasattr(module, "ASSET") else getattr(module, "ASSETS", None)
        if declared is None:
            without.append(module)
        else:
            found += declared
    names = {asset.name for asset in found}
    for module in without:
        name = module.__name__.rpartition(".")[2]
        if name not in names:
            raise ValueError(f"{module.__name__} has no ASSET, and no module of {package.__name__} has an asset {name}")
    return tuple(found)


def brought_assets(group: str) -> tuple[Asset, ...]:
    """The assets that other packages bring by the entry points of a group.

    Raises:
        UserError: an entry point cannot be loaded or names something else; the message names its package.
    """
    return tuple(_brought(group))


def _brought(group: str) -> Iterator[Asset]:
    for entry in packages.brought(group):
        found = _loaded(entry)
        assets: Sequence[Any] = [found] if isinstance(found, Asset) else list(found)
        for asset in assets:
            if not isinstance(asset, Asset):
                raise UserError(f"{_named(entry)} names {type(asset).__name__}, not an Asset or a sequence of them")
            if asset.scores and group != MEASUREMENTS_GROUP:
                raise UserError(
                    f"{_named(entry)} names {asset.name}, which has scores: name it in {MEASUREMENTS_GROUP}, "
                    "so that clips can be selected by them"
                )
            yield asset


def brought_graphs() -> list[str]:
    """The names of the graphs that other packages bring."""
    return [entry.name for entry in packages.brought(GRAPHS_GROUP)]


def brought_graph(name: str) -> Graph | None:
    """A graph that another package brings; None if there is none of that name. Only its own package is loaded.

    Raises:
        UserError: it cannot be loaded, or is something else; the message names its package.
    """
    for entry in packages.brought(GRAPHS_GROUP):
        if entry.name != name:
            continue
        graph = _loaded(entry)
        if not isinstance(graph, Graph) or graph.name != name:
            said = f"the graph {graph.name}" if isinstance(graph, Graph) else type(graph).__name__
            raise UserError(f"{_named(entry)} names {said}, not a Graph called {name}")
        return graph
    return None


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        raise UserError(
            f"{_named(entry)} cannot be loaded: {type(error).__name__}: {error}; fix or remove it"
        ) from error


def _named(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else "a package"
    return f"{package}: the entry point {entry.name} = {entry.value} of {entry.group}"

"""Selections of assets: Dagster's selection syntax, in which `key:` can be left out and every name must exist."""

import re
import warnings

import dagster as dg

from curate_assets.orchestration.asset_graph import defs
from curate_resources.suggestions import did_you_mean
from gpu_kernels.errors import UserError

_TOKENS = re.compile(
    r"""
    (?P<term> [a-z_]+ : (?: "[^"]*" | [\w*/.-]+ ) (?: = (?: "[^"]*" | [\w*/.-]+ ) )? )
    | (?P<word> (?: and | or | not ) \b | (?: sinks | roots ) (?= \s* \( ) )
    | (?P<name> \*? [^\W\d] [\w*/]* )
    | (?P<comma> , )
    """,
    re.VERBOSE | re.IGNORECASE,
)


class UnknownAsset(UserError):
    """A selection that is not written correctly, or that names an asset that does not exist."""


def asset_names() -> list[str]:
    """All assets, in the order of the graph."""
    graph = defs.resolve_asset_graph()
    return [key.to_user_string() for key in graph.toposorted_asset_keys]


def selected(selection: str) -> frozenset[str]:
    """Names of the assets that a selection names, such as `clips`, `clips+`, `clips,captions`, `clip_*` or `*`.

    Raises:
        UnknownAsset: part of it names nothing, or it is not written correctly.
    """
    expression = _TOKENS.sub(_qualified, selection)
    for term in _TOKENS.finditer(expression):
        if term["term"] and not _resolved(term["term"], selection):
            raise _unknown(term["term"])
    found = _resolved(expression, selection)
    if not found:
        raise UnknownAsset(f"{selection!r} selects nothing; the assets are {', '.join(asset_names())}")
    return found


def _qualified(token: re.Match[str]) -> str:
    """A bare name as a key, and a comma as `or`. Dagster would read a bare `clips+` as `clips` and one layer more."""
    if token["name"]:
        return f"key:{token['name']}"
    return " or " if token["comma"] else token[0]


def _resolved(expression: str, selection: str) -> frozenset[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # of what Dagster's own `*` is made of
            keys = dg.AssetSelection.from_string(expression).resolve(defs.resolve_asset_graph())
    except Exception as error:
        raise UnknownAsset(f"{selection!r} is not a selection such as clips, 'clips+' or 'clips,captions'") from error
    return frozenset(key.to_user_string() for key in keys)


def _unknown(term: str) -> UnknownAsset:
    attribute, _, value = term.partition(":")
    if attribute != "key":
        return UnknownAsset(f"no asset has {term}")
    name, known = value.strip('"'), asset_names()
    hint = did_you_mean(name, known) or f"; the assets are {', '.join(known)}"
    return UnknownAsset(f"there is no asset {name!r}{hint}")

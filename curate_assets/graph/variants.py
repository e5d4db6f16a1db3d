"""Variants: an asset of a graph once more under another name, and assets that read it in place of the first.

An asset's functions are written once and name their tables and sections. A variant, and what reads one, is the same
asset whose functions *see* other tables and sections under these names.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from curate_assets.graph.graph import Asset, Graph, Preview
from curate_assets.graph.platform import Agreement, PlatformConfig
from curate_assets.graph.renaming import Seen, renamed, renamed_stage, settings_under
from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.shard_checks import Finding, Shard
from curate_assets.graph.whole_table import Gathered
from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import Table
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import UserError


class VariantError(UserError):
    """`variants` or `reads` name what is not there or cannot be."""


def with_variants(graph: Graph, choice: GraphChoice) -> Graph:
    """A graph with the variants of a choice.

    Raises:
        VariantError: an asset is not there, cannot have variants or does not read what it is said to; the message says
            what there is.
    """
    for of, names in choice.variants.items():
        graph = _beside(graph, of, _variants(graph, of, names))
    variants_of = {of: {f"{of}_{name}" for name in names} for of, names in choice.variants.items()}
    by_name = {asset.name: asset for asset in graph.assets}
    for reader in choice.reads:
        if reader not in by_name:
            hint = did_you_mean(reader, by_name) or f": the assets are {', '.join(by_name)}"
            raise VariantError(f"reads.{reader}: there is no such asset{hint}")
    seen_by: dict[str, Seen] = {}
    passed_on: dict[str, Seen] = {}
    for asset in graph.assets:
        own = choice.reads.get(asset.name, {})
        for written, actual in own.items():
            _see_that_it_reads(asset, written, actual, variants_of)
        above = {name: {**passed_on[name]} for name in asset.reads}
        seen_by[asset.name] = {**_shown(asset, above), **_together(asset, own, above)}
        passed_on[asset.name] = {key: value for each in (*above.values(), own) for key, value in each.items()}
    listed = tuple(_seeing(asset, seen_by[asset.name]) if seen_by[asset.name] else asset for asset in graph.listed)
    previews = {
        name: partial(_previewed, preview, seen_by[name]) if seen_by[name] else preview
        for name, preview in graph.previews.items()
    }
    return replace(graph, listed=listed, previews=previews)


def _variants(graph: Graph, of: str, names: Sequence[str]) -> list[Asset]:
    known = {asset.name: asset for asset in graph.assets}
    able = [asset.name for asset in graph.assets if asset.several]
    if of not in known or not known[of].several:
        said = "cannot have variants" if of in known else f"there is no such asset{did_you_mean(of, able)}"
        raise VariantError(f"variants.{of}: {said}; of these there can be several: {', '.join(able) or 'none'}")
    found: list[Asset] = []
    for name in names:
        actual = f"{of}_{name}"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or actual in known or names.count(name) > 1:
            raise VariantError(
                f"variants.{of}: {name!r} must be a name of its own, of small letters, digits and underscores"
            )
        found.append(_variant(known[of], name, actual))
    return found


def _beside(graph: Graph, of: str, variants: Sequence[Asset]) -> Graph:
    """A graph with variants of one of its assets; a stage that fills several tables fills theirs in the same pass."""
    graph, made_by = graph.extended(variants), graph.asset(of).made_by
    if not isinstance(made_by, Stage) or made_by not in [variant.made_by for variant in variants]:
        return graph
    fuller = replace(made_by, writes=(*made_by.writes, *(variant.table for variant in variants)))
    return replace(
        graph, listed=tuple(replace(each, made_by=fuller) if each.made_by == made_by else each for each in graph.listed)
    )


def _see_that_it_reads(asset: Asset, written: str, actual: str, variants_of: Mapping[str, set[str]]) -> None:
    if written not in asset.reads:
        hint = did_you_mean(written, asset.reads) or f": it reads {', '.join(asset.reads)}"
        raise VariantError(f"reads.{asset.name}.{written}: {asset.name} does not read that{hint}")
    if actual not in (variants := sorted(variants_of.get(written, ()))):
        hint = f"the variants are {', '.join(variants)}" if variants else f"name some in variants.{written}"
        raise VariantError(f"reads.{asset.name}.{written}: {actual!r} is no variant of {written}; {hint}")


def _together(asset: Asset, own: Seen, above: Mapping[str, Seen]) -> Seen:
    """What an asset sees: what is said of it, and what those that it is made from see of the tables that it reads."""
    seen = dict(own)
    of = dict.fromkeys(own, asset.name)
    for name, others in above.items():
        for written, actual in others.items():
            if written not in asset.reads:
                continue
            if seen.setdefault(written, actual) != actual:
                raise VariantError(
                    f"{name} reads {actual}, and {of[written]} reads {seen[written]}, but {asset.name} is made from "
                    "both: let them read the same table"
                )
            of.setdefault(written, name)
    return seen


def _shown(asset: Asset, above: Mapping[str, Seen]) -> dict[str, str]:
    """What a page sees: it shows what others were made from, without being made from it, so it sees what they do. Where
    they do not see the same, it sees the table of the name that was written."""
    if isinstance(asset.made_by, Stage) or asset.made_by.stored:
        return {}
    several: dict[str, set[str]] = {}
    for others in above.values():
        for written, actual in others.items():
            several.setdefault(written, set()).add(actual)
    return {written: next(iter(actual)) for written, actual in several.items() if len(actual) == 1}


def _variant(asset: Asset, name: str, actual: str) -> Asset:
    """An asset under another name, with the section, table and history of that name."""
    variant = _seeing(asset, {asset.name: actual}, f"Variant `{name}` of `{asset.name}`. {asset.table.description}")
    made_by = variant.made_by
    return (
        replace(variant, made_by=replace(made_by, name=f"{made_by.name}_{name}"))
        if isinstance(made_by, Stage) and made_by != asset.made_by
        else variant
    )


def _seeing(asset: Asset, seen: Seen, description: str | None = None) -> Asset:
    """An asset whose functions see other tables and sections under the names that they were written with."""
    table, made_by = renamed(asset.table, seen), asset.made_by
    table = replace(table, description=description) if description else table
    return replace(
        asset,
        table=table,
        made_by=renamed_stage(made_by, table, seen) if isinstance(made_by, Stage) else _gathered(made_by, table, seen),
        checks=tuple(
            replace(check, table=table, judge=partial(_judged, check.judge, seen), sql=_sql(check.sql, seen))
            for check in asset.checks
        ),
        preview=partial(_previewed, asset.preview, seen) if asset.preview else None,
        agrees=partial(_agree, asset.agrees, seen) if asset.agrees else None,
        unneeded=partial(_under, asset.unneeded, seen) if asset.unneeded else None,
        seen={**asset.seen, **seen},
    )


def _gathered(gathered: Gathered, table: Table, seen: Seen) -> Gathered:
    reads = tuple(renamed(each, seen) for each in gathered.reads)
    kept = partial(_under, gathered.kept, seen) if gathered.kept else None
    return replace(gathered, table=table, make=partial(_under, gathered.make, seen), kept=kept, reads=reads)


def _under(function: Any, seen: Seen, tables: Tables, config: PlatformConfig, *shard: str) -> Any:
    return function(tables.under(seen), settings_under(config, seen), *shard)


def _judged(judge: Callable[[Shard], Finding], seen: Seen, shard: Shard) -> Finding:
    return judge(shard.under(seen))


def _sql(sql: str, seen: Seen) -> str:
    """A query in which the names that it was written with are those of other tables."""
    named = ", ".join(f"{written} as (select * from {actual})" for written, actual in seen.items())
    return f"with {named} {sql}"


def _previewed(preview: Preview, seen: Seen, tables: Tables, shard: str) -> str | None:
    return preview(tables.under(seen), shard)


def _agree(agrees: Agreement, seen: Seen, config: Any) -> None:
    try:
        agrees(settings_under(config, seen))
    except ValueError as error:
        others = ", ".join(f"{written} is {actual}" for written, actual in seen.items())
        raise ValueError(f"{error} (here {others})") from error

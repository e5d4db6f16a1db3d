"""Which samples are left out so that a set is balanced, and the shares of its groups before and after."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curate_assets.video.assets.concept_clusters import CONCEPT_CLUSTERS
from curate_assets.video.assets.measurements.clip_labels import CLIP_LABELS
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.balance import REST, BalanceConfig, chosen_ids, group_targets
from gpu_kernels.errors import UserError

NOT_SAMPLED = "not_sampled"
"""Why a clip is no sample that balance leaves out."""

Key = tuple[str, str]
"""Shard and clip."""


@dataclass(frozen=True)
class Share:
    """A group, and how many clips it has among those that could be samples, and among the samples."""

    group: str
    before: int
    after: int


def groups_by(tables: Tables, by: str) -> Mapping[Key, str]:
    """The group of each clip that has one.

    Raises:
        UserError: there are no groups.
    """
    table, column = (CONCEPT_CLUSTERS, "cluster") if by == "cluster" else (CLIP_LABELS, "labels")
    rows = tables.read(table, columns=["shard", "clip_id", column], where="status = 'ok'").to_pylist()
    named = {(row["shard"], row["clip_id"]): row[column] for row in rows}
    found = {
        key: str(value) if by == "cluster" else value[0] for key, value in named.items() if value not in (None, [])
    }
    if not found:
        remedy = "set concept_clusters.clusters" if by == "cluster" else "set clip_labels.enabled to true"
        raise UserError(f"balance.by: {by} needs {table.name}, which has no rows: {remedy} and materialize it")
    return found


def balanced(keys: Iterable[Key], groups: Mapping[Key, str], config: BalanceConfig) -> frozenset[Key]:
    """Those of some clips that are samples. A clip that is in several shards counts once for each.

    Raises:
        UserError: the asked shares cannot be had of these clips.
    """
    members: dict[str, dict[str, Key]] = {}
    for key in keys:
        members.setdefault(groups.get(key, REST), {})["/".join(reversed(key))] = key
    targets = group_targets({group: len(each) for group, each in members.items()}, config)
    chosen = chosen_ids(members, targets, config.seed)
    return frozenset(key for each in members.values() for name, key in each.items() if name in chosen)


def shares(rows: Iterable[tuple[str | None, bool]]) -> list[Share]:
    """Of clips, given by their group and whether they are samples: the largest group first; none where none has one."""
    before, after = Counter[str](), Counter[str]()
    for group, sampled in rows:
        if group is not None:
            before[group] += 1
            after[group] += sampled
    return [
        Share(group, before[group], after[group]) for group in sorted(before, key=lambda each: (-before[each], each))
    ]


def shares_markdown(found: list[Share]) -> str:
    """A table of them."""
    totals = sum(each.before for each in found), sum(each.after for each in found)
    lines = [
        f"| {each.group or '(none)'} | {each.before:,} | {_part(each.before, totals[0])} | {each.after:,} | "
        f"{_part(each.after, totals[1])} |"
        for each in found
    ]
    return "\n".join(["| group | clips | share | samples | share |", "|---|---:|---:|---:|---:|", *lines])


def _part(count: int, whole: int) -> str:
    return f"{count / whole:.1%}" if whole else ""

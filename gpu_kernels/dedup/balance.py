"""Which samples a balanced set has: how many of each group, and which of these.

The same ids give the same choice. A group's samples are those whose digests are smallest, so when it grows, or its
number changes, only as many come or go as have to.
"""

import hashlib
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, Literal

from pydantic import Field, field_validator

from gpu_kernels.errors import UserError
from gpu_kernels.strict import StrictModel

REST = ""
"""The group of what belongs to none."""


class BalanceConfig(StrictModel):
    """How many samples of each group there are."""

    by: Literal["cluster", "label"] = "cluster"
    """What a group is: a cluster of `concept_clusters`, or clips with the same likeliest label of `clip_labels`."""
    shares: dict[str, float] = Field(default_factory=dict)
    """Shares of groups, from 0 to 1, such as `{"3": 0.25}`; the other groups have the rest. As many samples are taken
    as these shares allow. Without any, a clip of a group of n has a weight of 1/√n, as with Movie Gen."""
    samples: int | None = Field(default=None, ge=1)
    """How many samples there are in all, as far as there are enough. `null`: with `shares`, as many as these allow;
    else, groups of up to the median size are whole, and of greater ones √(n · median) are taken."""
    seed: int = Field(default=0, ge=0)
    """Another number draws other samples."""

    @field_validator("shares", mode="before")
    @classmethod
    def _named(cls, shares: Any) -> Any:
        """In YAML, the name of a cluster is a number where it has no quotation marks."""
        if not isinstance(shares, dict):
            return shares
        return {str(name) if type(name) is int else name: share for name, share in shares.items()}

    @field_validator("shares")
    @classmethod
    def _add_up(cls, shares: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name, share in shares.items() if not 0 <= share <= 1]:
            raise ValueError(f"{wrong[0]}: a share is from 0 to 1")
        if sum(shares.values()) > 1 + 1e-9:
            raise ValueError(f"they add up to {sum(shares.values()):g}, which is more than 1")
        return shares


def group_targets(sizes: Mapping[str, int], config: BalanceConfig) -> dict[str, int]:
    """How many samples each group is to have, from its size; never more than it has.

    Raises:
        UserError: the shares name a group that is not there, or leave a rest of which there is nothing.
    """
    if not sizes:
        return {}
    wanted = _by_shares(sizes, config) if config.shares else _by_roots(sizes, config.samples)
    return _rounded(wanted, sizes)


def chosen_ids(groups: Mapping[str, Iterable[str]], targets: Mapping[str, int], seed: int) -> frozenset[str]:
    """The ids that are samples: of each group, as many as it is to have."""
    found: set[str] = set()
    for group, ids in groups.items():
        found |= {*sorted(ids, key=lambda each: (_digest(seed, each), each))[: targets[group]]}
    return frozenset(found)


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _by_roots(sizes: Mapping[str, int], samples: int | None) -> dict[str, float]:
    """Groups up to some size are whole, and of the others the geometric mean of their size and that one is taken."""

    def taken(whole: float) -> dict[str, float]:
        return {group: min(size, (size * whole) ** 0.5) for group, size in sizes.items()}

    if samples is None:
        return taken(float(median([*sizes.values()])))
    least, most = 0.0, float(max(sizes.values()))
    if samples >= sum(sizes.values()):
        return taken(most)
    for _ in range(100):
        middle = (least + most) / 2
        least, most = (middle, most) if sum(taken(middle).values()) < samples else (least, middle)
    return taken(most)


def _by_shares(sizes: Mapping[str, int], config: BalanceConfig) -> dict[str, float]:
    if missing := [name for name in config.shares if not sizes.get(name) and config.shares[name] > 0]:
        there = ", ".join(sorted(name or "(none)" for name in sizes))
        raise UserError(f"balance.shares names {missing[0]!r}, of which there is no clip; groups: {there}")
    others = {group: size for group, size in sizes.items() if group not in config.shares}
    rest, left = max(0.0, 1 - sum(config.shares.values())), sum(others.values())
    if rest > 1e-9 and not left:
        raise UserError(f"balance.shares add up to {1 - rest:g}, and there is no other group for the rest")
    bounds = [float(config.samples or left + sum(sizes.values()))]
    bounds += [sizes[group] / share for group, share in config.shares.items() if share > 0]
    bounds += [left / rest] if rest > 1e-9 else []
    total = min(bounds)
    named = {group: total * config.shares[group] for group in sizes if group in config.shares}
    return named | {group: total * rest * size / left for group, size in others.items()}


def _rounded(wanted: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers with the same sum, as near as can be: those with the greatest remainders are rounded up."""
    found = {group: int(value + 1e-9) for group, value in wanted.items()}
    more = round(sum(wanted.values())) - sum(found.values())
    order = sorted(wanted, key=lambda group: (found[group] - wanted[group], group))
    for group in [each for each in order if found[each] < sizes[each] and wanted[each] > 0][: max(0, more)]:
        found[group] += 1
    return found

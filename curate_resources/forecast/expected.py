"""What can be expected of a run, in counts and words."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from curate_resources.declarations.table import Recipe

FORCED, FAILED_BEFORE = "forced", "failed before"


@dataclass
class Expected:
    """What is expected of one table's rows of one shard. Counts are of items of the stage that fills it.

    Attributes:
        compute: will be computed; `missing` (no rows so far) and `failed` (they failed) are among them.
        reuse: keep their rows.
        maybe: are or are not computed, depending on what comes of `depends_on`.
        uncounted: units whose items are not known before `depends_on` are made.
        dropped: stored rows that go: their item is no longer there or no longer worked on, or their stage is idle.
        reasons: why, with how many of `compute`.
        depends_on: tables that will be recomputed, and can make a difference.
        absent: whether rows are not there yet.
        stale: whether rows are there that do not hold any more, or may not when `depends_on` are made.
        blocked: why it cannot be made; empty if it can.
    """

    table: str
    shard: str
    compute: int = 0
    missing: int = 0
    failed: int = 0
    reuse: int = 0
    maybe: int = 0
    uncounted: int = 0
    dropped: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    depends_on: set[str] = field(default_factory=set[str])
    absent: bool = False
    stale: bool = False
    blocked: str = ""

    @property
    def needed(self) -> bool:
        """Whether the shard should be made again, not only to try failed rows again."""
        return self.absent or self.stale

    @property
    def again(self) -> bool:
        """Whether failed rows would be tried again, or what there is none of because of such rows."""
        return bool(self.failed or (self.depends_on and not self.needed))


@dataclass(frozen=True)
class Forecast:
    """What is expected of a shard, by table; `changes` are the tables whose rows will or may be others to what reads
    them."""

    shard: str
    expected: Mapping[str, Expected]
    changes: frozenset[str]


def differences(earlier: Recipe, now: Recipe) -> list[str]:
    """What changed from one recipe to another, in words."""
    found: list[str] = []
    if earlier.version != now.version:
        found.append(f"code version {earlier.version} -> {now.version}")
    if earlier.model != now.model:
        names = ["@".join(each.model) if each.model else "none" for each in (earlier, now)]
        found.append(f"model {names[0]} -> {names[1]}")
    for section in sorted({*earlier.settings, *now.settings}):
        before, after = earlier.settings.get(section, {}), now.settings.get(section, {})
        for key in sorted({*before, *after}):
            if before.get(key) != after.get(key):
                found.append(f"{section}.{key} {before.get(key)!r} -> {after.get(key)!r}")
    return found

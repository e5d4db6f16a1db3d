"""Shards of late files: they sort before the listing position, so looks never see them; audits and events find them.

Both may close such shards at the same time. The numbers of their series are taken one by one, by a creation that only
one can win, and who loses one reads what is in it: so no file is in two of them.
"""

from collections.abc import Iterable, Sequence

from curate_resources.manifests import Entry, Manifest, Manifests
from curate_resources.sources import Source


def close_late(
    manifests: Manifests, name: str, source: Source, runs: Iterable[Sequence[Entry]], known: Sequence[str]
) -> dict[str, int]:
    """Put runs of files into a shard each; returns counts of files by shard.

    Args:
        name: of the source.
        runs: files that are in none of the `known` shards.
        known: the shards that were read for that.
    """
    series = f"{name}-late"
    number = manifests.next_ordinal(series, known)
    made: dict[str, int] = {}
    for run in runs:
        left = list(run)
        while left:
            shard = f"{series}-{number:06d}"
            number += 1
            if manifests.create(Manifest(shard=shard, preset=source.preset, entries=tuple(left))):
                made[shard] = len(left)
                break
            taken = {entry.place for entry in manifests.load(shard).entries}
            left = [entry for entry in left if entry.place not in taken]
    return made

"""What names a clip among those of all shards."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class ClipKey:
    """A clip of a shard; two shards may hold the same file, and so the same clip id."""

    clip_id: str
    shard: str

"""The tiers of likeness between clips, and the settings of what is measured of each and what counts."""

from typing import Literal

from pydantic import Field

from gpu_kernels.dedup.alignment import AlignmentConfig, Verdict
from gpu_kernels.strict import StrictModel

Tier = Literal["identical", "picture", "meaning"]
TIERS: tuple[Tier, ...] = ("identical", "picture", "meaning")
"""From the strictest to the loosest: the same content, the same picture re-encoded or changed, the same subject."""

KeepBy = Literal["whole_frame", "resolution", "bitrate", "technical_quality", "length", "sharpness"]


class DuplicatePairsConfig(AlignmentConfig):
    """Which pairs are measured and kept."""

    identical: bool = True
    """Whether clips with the same content are looked for: the same clip in two shards, or every frame decoded alike."""
    picture: bool = True
    """Whether spans are looked for that show the same pictures in the same order, re-encoded or altered."""
    meaning: bool = True
    """Whether clips with near vectors in `clip_embeddings` are looked for. These are not read otherwise."""
    floor_similarity: float = Field(default=0.8, gt=-1, le=1)
    """Pairs of vectors below this cosine similarity are not recorded."""


class DuplicateGroupsConfig(StrictModel):
    """Which pairs count as duplicates, and which clip of a group is kept. Changes measure nothing again."""

    tiers: list[Tier] = Field(default=["identical", "picture"])
    """Tiers whose pairs remove clips. Pairs of `meaning` beside that only tell which clips are alike."""
    min_similarity: float = Field(default=0.88, gt=-1, le=1)
    """Cosine similarity from which two clips are alike in meaning; not below `duplicate_pairs.floor_similarity`."""
    min_share: float = Field(default=0.8, gt=0, le=1)
    """Least share of a clip's length that its keeper has to show for the clip to be removed. A clip that is only a
    piece of a longer one is removed, and the longer one is not."""
    verdicts: list[Verdict] = Field(default=["copy"])
    """Verdicts on spans of the picture tier that count. See [copies](dedup.md#verdicts)."""
    max_links: int = Field(default=1, ge=1)
    """Most pairs between a removed clip and its keeper: 1 asks for a pair of the two, so that no chain of small
    changes joins clips that differ."""
    keep_by: list[KeepBy] = Field(default=["whole_frame", "resolution", "bitrate", "length", "sharpness"])
    """What the best clip is chosen by, in this order; then the smallest id. `whole_frame` puts what shows the pictures
    of another clip in a window, as a recording of a desktop does, after what fills its frame with them.
    `resolution` is that of the picture without black bars.
    `technical_quality` counts where it was measured: fewer visible blocks, then less noise."""

"""The windows of two tables of captions, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from curate_assets.video.caption_rows import caption_tables
from curate_resources.declarations.table import Row, Table
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import NotThere, UserError

_COLUMNS = ["shard", "video_id", "clip_id", "start_frame", "end_frame", "text"]

WindowKey = tuple[str, str, int, int]
"""Video, clip, first frame, and the frame after the last."""

Class = Literal["only_a", "only_b", "no_text", "unchanged", "changed"]


@dataclass(frozen=True)
class CaptionPair:
    """A window with two different captions; `shard` is where the first table has it."""

    shard: str
    window: WindowKey
    a: str
    b: str


@dataclass(frozen=True)
class CaptionPairs:
    """All windows of two tables.

    Attributes:
        counts: windows by class: `only_a` and `only_b` are in one table alone, of `no_text` a side has no text, and
            the texts are the same (`unchanged`) or not.
        changed: those with different texts, by shard, video and frame.
    """

    counts: Mapping[Class, int]
    changed: tuple[CaptionPair, ...]


def caption_table(tables: Mapping[str, Table], name: str) -> Table:
    """A table with a text per window, among some by name.

    Raises:
        UserError: there is none of this name.
    """
    able = caption_tables(tables.values())
    if name not in able:
        raise UserError(f"there is no table of captions {name!r}; there are {', '.join(able)}")
    return able[name]


def caption_pairs(a: tuple[Tables, Table], b: tuple[Tables, Table], shard: str | None = None) -> CaptionPairs:
    """The windows of two tables, of one shard or of all, matched by video, clip and frames.

    Raises:
        NotThere: one of the tables was never written.
    """
    first, second = _windows(*a, shard), _windows(*b, shard)
    counts: dict[Class, int] = {
        "only_a": len(first.keys() - second.keys()),
        "only_b": len(second.keys() - first.keys()),
        "no_text": 0,
        "unchanged": 0,
        "changed": 0,
    }
    changed: list[CaptionPair] = []
    for key, row in first.items():
        if key not in second:
            continue
        texts = row["text"], second[key]["text"]
        if None in texts:
            counts["no_text"] += 1
        elif texts[0] == texts[1]:
            counts["unchanged"] += 1
        else:
            counts["changed"] += 1
            changed.append(CaptionPair(row["shard"], key, *texts))
    changed.sort(key=lambda each: (each.shard, each.window[0], each.window[2]))
    return CaptionPairs(counts, tuple(changed))


def _windows(tables: Tables, table: Table, shard: str | None) -> dict[WindowKey, Row]:
    """The rows of windows. A video that is in several shards counts once, where it comes first."""
    if not tables.exists(table.name):
        raise NotThere(f"there are no {table.name} under {tables.storage.root}: materialize them first")
    found: dict[WindowKey, Row] = {}
    rows = tables.read(table, shard, _COLUMNS).to_pylist()
    for row in sorted(rows, key=lambda row: row["shard"]):
        if row["start_frame"] is not None:  # else it says why a clip has no windows
            found.setdefault((row["video_id"], row["clip_id"], row["start_frame"], row["end_frame"]), row)
    return found

"""Which caption of a window counts: that of the last stage that has text for it. All who read captions ask here.

A text that was made from another one than there is now does not count: the first captions were made again since, or it
is of another variant of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.enhanced_captions import ENHANCED_CAPTIONS
from curate_assets.video.assets.refined_captions import REFINED_CAPTIONS
from curate_assets.video.caption_rows import SOURCE_DIGEST, text_digest
from curate_resources.declarations.table import Row, Table

CAPTION_STAGES: tuple[Table, ...] = (CAPTIONS, REFINED_CAPTIONS, ENHANCED_CAPTIONS)
"""The tables with a text per window, in the order in which each is made from those before it."""


@dataclass(frozen=True)
class WindowCaption:
    """A window, and the texts about it.

    Attributes:
        window: its row in the first table.
        texts: by table, in the order of `CAPTION_STAGES`, the rows that have a text.
    """

    window: Row
    texts: dict[str, Row]

    @property
    def stage(self) -> str | None:
        """The table whose text counts; None: there is no text."""
        return next(reversed(self.texts), None)

    @property
    def caption(self) -> Row | None:
        """The row whose text counts."""
        return self.texts[self.stage] if self.stage is not None else None


def caption_columns(table: Table, *more: str) -> list[str]:
    """The columns of a table that `window_captions` looks at, and others."""
    source = [SOURCE_DIGEST.name] if table.has(SOURCE_DIGEST.name) else []
    return ["clip_id", "start_frame", "text", *source, *more]


def window_captions(rows: Mapping[str, Iterable[Row]]) -> list[WindowCaption]:
    """The windows of some clips, in the order of the first table's rows.

    Args:
        rows: by table, with `caption_columns`, and `shard` where they are of several.
    """
    found: dict[tuple[str | None, str, int | None], dict[str, Row]] = {}
    windows: dict[tuple[str | None, str, int | None], Row] = {}
    for table in CAPTION_STAGES:
        for row in rows.get(table.name, ()):
            key = (row.get("shard"), row["clip_id"], row["start_frame"])
            if table is CAPTIONS:
                windows[key], found[key] = row, {}
            if key in windows and row["text"] is not None and _belongs(row, found[key].values()):
                found[key][table.name] = row
    return [WindowCaption(windows[key], texts) for key, texts in found.items()]


def _belongs(row: Row, earlier: Iterable[Row]) -> bool:
    """Whether a text was made from one of the earlier ones, if it was made from any."""
    if SOURCE_DIGEST.name not in row:
        return True
    return row[SOURCE_DIGEST.name] in {text_digest(each["text"]) for each in earlier}

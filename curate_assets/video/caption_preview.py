"""What the UI shows of a shard's captions: some windows, each with a picture and its text."""

import base64
from collections.abc import Callable

from curate_assets.graph.contact_sheet import spread
from curate_assets.video.thumbnails import Place, thumbnails
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables

_WINDOWS = 6
_COLUMNS = ["video_id", "clip_id", "start_frame", "end_frame", "text"]


def caption_preview(table: Table) -> Callable[[Tables, str], str | None]:
    """A preview of a table of captions: Markdown, or None where no window has a text."""

    def preview(tables: Tables, shard: str) -> str | None:
        rows = tables.read(table, shard, _COLUMNS, "status = 'ok'").to_pylist()
        rows = spread(sorted(rows, key=lambda row: (row["video_id"], row["start_frame"])), _WINDOWS)
        places = [Place(shard, row["video_id"], row["clip_id"], row["start_frame"], row["end_frame"]) for row in rows]
        pictures = thumbnails(tables, places)
        shown = zip(places, rows, strict=True)
        return "\n\n".join(_window(place, pictures.get(place), row["text"]) for place, row in shown) or None

    return preview


def _window(place: Place, picture: bytes | None, text: str) -> str:
    quoted = "\n".join(f"> {_plain(line)}" for line in text.splitlines())
    if picture is None:
        return quoted
    return f"![{place.clip_id}](data:image/jpeg;base64,{base64.b64encode(picture).decode()})\n\n{quoted}"


def _plain(text: str) -> str:
    """A model may write anything, and a page of the UI loads what Markdown and HTML name."""
    return "".join(f"\\{each}" if each in "\\`*_{}[]()<>#!|&" else each for each in text)

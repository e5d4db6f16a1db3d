"""The page of `curate select --what-if`: pictures of the clips that other thresholds would gain and lose."""

from curate_assets.video.report.page import environment
from curate_assets.video.thumbnails import thumbnails, window_places
from curate_assets.video.what_if import ChangedClip, WhatIf
from curate_resources.tables.lance_tables import Tables

WHAT_IF_PATH = "reports/what-if.html"

_TEMPLATE = "what_if.html.jinja"


def write_what_if(tables: Tables, found: WhatIf) -> str:
    """Write the page; returns its URI."""
    tables.storage.write(WHAT_IF_PATH, render_what_if(tables, found).encode())
    return tables.storage.uri(WHAT_IF_PATH)


def render_what_if(tables: Tables, found: WhatIf) -> str:
    """As the report, HTML that holds its style and pictures, loads nothing and runs no script."""
    places = {
        clip: window_places(clip.shard, clip.video_id, clip.clip_id, clip.start_frame, clip.end_frame)
        for clip in (*found.gained.shown, *found.lost.shown)
    }
    pictures = thumbnails(tables, [place for each in places.values() for place in each])

    def of(clip: ChangedClip) -> list[bytes]:
        return [pictures[place] for place in places[clip] if place in pictures]

    return environment().get_template(_TEMPLATE).render(found=found, pictures=of)

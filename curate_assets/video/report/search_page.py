"""The page of `curate search --open`: pictures of the clips that were found, and what matched."""

from curate_assets.video.report.page import environment
from curate_assets.video.search.found import Found, Hit
from curate_assets.video.thumbnails import thumbnails, window_places
from curate_resources.tables.lance_tables import Tables

SEARCH_PATH = "reports/search.html"

_TEMPLATE = "search.html.jinja"


def write_search(tables: Tables, asked: str, found: Found) -> str:
    """Write the page; returns its URI.

    Args:
        asked: what was looked for, in words.
    """
    tables.storage.write(SEARCH_PATH, render_search(tables, asked, found).encode())
    return tables.storage.uri(SEARCH_PATH)


def render_search(tables: Tables, asked: str, found: Found) -> str:
    """As the report, HTML that holds its style and pictures, loads nothing and runs no script."""
    places = {
        hit: window_places(hit.shard, hit.video_id, hit.clip_id, hit.start_frame, hit.end_frame) for hit in found.hits
    }
    pictures = thumbnails(tables, [place for each in places.values() for place in each])

    def of(hit: Hit) -> list[bytes]:
        return [pictures[place] for place in places[hit] if place in pictures]

    root = tables.storage.root
    return environment().get_template(_TEMPLATE).render(root=root, asked=asked, found=found, pictures=of)

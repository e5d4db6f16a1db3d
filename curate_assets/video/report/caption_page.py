"""The page of captions: windows, each with pictures from its beginning to its end and the texts of all stages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from curate_assets.graph.contact_sheet import spread
from curate_assets.graph.graph import Graph
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.dataset_report import DATASET_REPORT
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.caption_texts import CAPTION_STAGES, WindowCaption, caption_columns, window_captions
from curate_assets.video.report.page import environment
from curate_assets.video.thumbnails import Place, thumbnails, window_places
from curate_resources.declarations.table import Row, Table
from curate_resources.tables.lance_tables import Tables, one_of, quoted
from gpu_kernels.shots.splitting import SECOND

CAPTIONS_PATH = "reports/captions.html"

_TEMPLATE = "captions.html.jinja"
_WINDOW = ("video_id", "window", "end_frame", "caption_status", "error")
_KEY = ("shard", "clip_id", "start_frame")
_ORDER = ("shard", "video_id", "start_frame")
_CLIP = ["shard", "clip_id", "start_ns", "end_ns"]
_VIDEO = ["shard", "video_id", "uri"]


@dataclass(frozen=True)
class CaptionedWindow:
    """A window and what was said of it.

    Attributes:
        uri: the source file.
        start, end: of its clip, in seconds of the source.
        start_frame, end_frame: of the window, in the source.
        texts: by table, in the order of the stages; the last is the one that counts.
        status: `caption_status` of the first stage.
        failure: why that has no text.
    """

    shard: str
    video_id: str
    clip_id: str
    window: int
    uri: str
    start: float
    end: float
    start_frame: int
    end_frame: int
    texts: dict[str, str]
    status: str
    failure: str | None

    def document(self) -> Row:
        """As JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class CaptionPage:
    """Some of the windows that were looked for, evenly spread, and how many these are.

    Attributes:
        root: of the dataset.
        sought: what they were looked for by, in words; empty: all of them.
    """

    root: str
    windows: tuple[CaptionedWindow, ...]
    total: int
    sought: str


def as_reported(tables: Tables, graph: Graph) -> Tables:
    """The tables with the captions that the report shows, where these have variants."""
    return tables.under(graph.asset(DATASET_REPORT.name).seen)


def caption_page(
    tables: Tables, shards: Collection[str] = (), clip: str | None = None, text: str | None = None, most: int = 60
) -> CaptionPage:
    """The windows to show.

    Args:
        shards: those of these only; none: of all.
        clip: those of the clips whose id begins so.
        text: those with this in any of their texts, in whatever case.
        most: shown at most.
    """
    known = set(shards) or None

    def rows(table: Table, columns: Sequence[str], where: str | None = None) -> list[Row]:
        return tables.read(table, known, columns, where).to_pylist()

    def captioned(clip_ids: Collection[str]) -> list[WindowCaption]:
        of_these = one_of("clip_id", clip_ids)
        stored = {
            table.name: rows(table, caption_columns(table, "shard", *(_WINDOW if table is CAPTIONS else ())), of_these)
            for table in CAPTION_STAGES
        }
        return window_captions(stored)

    of_clip = f"starts_with(clip_id, {quoted(clip)})" if clip is not None else None
    if text is None:  # only keys are read of those that are not shown
        keys = tables.read(CAPTIONS, known, [*_KEY, "video_id"], of_clip).sort_by(
            [(name, "ascending") for name in _ORDER]
        )
        total, positions = keys.num_rows, list(spread(range(keys.num_rows), most))
        chosen = {tuple(row[name] for name in _KEY) for row in keys.take(positions).to_pylist()}
        windows = [each for each in captioned({key[1] for key in chosen}) if _key(each.window) in chosen]
    else:
        said = f"contains(lower(text), {quoted(text.lower())})"
        where = said if of_clip is None else f"{of_clip} AND {said}"
        found = captioned({row["clip_id"] for table in CAPTION_STAGES for row in rows(table, ["clip_id"], where)})
        windows = [each for each in found if any(text.lower() in row["text"].lower() for row in each.texts.values())]
        total = len(windows)
    windows.sort(key=lambda each: tuple(each.window[name] for name in _ORDER))
    windows = list(spread(windows, most))
    of_those = one_of("clip_id", (each.window["clip_id"] for each in windows))
    clips = {(row["shard"], row["clip_id"]): row for row in rows(CLIPS, _CLIP, of_those)}
    uris = {(row["shard"], row["video_id"]): row["uri"] for row in rows(SOURCE_VIDEOS, _VIDEO)}
    shown: list[CaptionedWindow] = []
    for each in windows:
        row: Row = each.window
        spanned = clips.get((row["shard"], row["clip_id"]))
        shown.append(
            CaptionedWindow(
                shard=row["shard"],
                video_id=row["video_id"],
                clip_id=row["clip_id"],
                window=row["window"],
                uri=uris.get((row["shard"], row["video_id"]), row["video_id"]),
                start=spanned["start_ns"] / SECOND if spanned else 0.0,
                end=spanned["end_ns"] / SECOND if spanned else 0.0,
                start_frame=row["start_frame"],
                end_frame=row["end_frame"],
                texts={name: said["text"] for name, said in each.texts.items()},
                status=row["caption_status"],
                failure=row["error"]["message"] if row["error"] else None,
            )
        )
    sought = [f"in {', '.join(sorted(shards))}"] * bool(shards)
    sought += [f"of clip {clip}"] * (clip is not None) + [f"with “{text}”"] * (text is not None)
    return CaptionPage(tables.storage.root, tuple(shown), total, " ".join(sought))


def _key(row: Row) -> tuple[str, str, int]:
    return row["shard"], row["clip_id"], row["start_frame"]


def write_caption_page(tables: Tables, page: CaptionPage) -> str:
    """Write the page; returns its URI."""
    tables.storage.write(CAPTIONS_PATH, render_caption_page(tables, page).encode())
    return tables.storage.uri(CAPTIONS_PATH)


def render_caption_page(tables: Tables, page: CaptionPage) -> str:
    """As the report, HTML that holds its style and pictures, loads nothing and runs no script."""
    places = [_places(window) for window in page.windows]
    found = thumbnails(tables, [place for each in places for place in each])
    pictures = [[found[place] for place in each if place in found] for each in places]
    shown = list(zip(page.windows, pictures, strict=True))
    return environment().get_template(_TEMPLATE).render(page=page, shown=shown)


def _places(window: CaptionedWindow) -> list[Place]:
    return window_places(window.shard, window.video_id, window.clip_id, window.start_frame, window.end_frame)

"""The report as HTML text."""

import base64
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from curate_assets.graph.graph import FunnelStep
from curate_assets.video.report.charts import funnel_chart, histogram, level, number
from curate_assets.video.report.contents import ReportContents
from curate_assets.video.report.funnel import WAITING

_TEMPLATE = "page.html.jinja"

_NOUNS = {
    "files": ("file", "files"),
    "readable videos": ("video", "videos"),
    "shots": ("shot", "shots"),
    "clips": ("clip", "clips"),
    "selected": ("selected clip", "selected"),
    "kept": ("kept clip", "kept"),
    "clip files": ("clip file", "clip files"),
}
"""What a funnel step counts: one, and many."""

_REASONS = {WAITING: "not made yet", "exact_copy": "exact copies", "duplicate": "duplicates", "left_out": "left out"}


def render(contents: ReportContents) -> str:
    """The page: HTML that holds its style and pictures, loads nothing and runs no script.

    Everything that comes from files (names, messages, captions) is escaped.
    """
    page = environment()
    known: dict[str, Any] = page.globals
    known |= {"share": _share, "level": level, "losses": _losses, "waiting": WAITING}
    return page.get_template(_TEMPLATE).render(report=contents)


def environment() -> Environment:
    """What all pages are made with: escaping, formats and charts."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=number,
        duration=_duration,
        clock=_clock,
        size=_size,
        jpeg=_jpeg,
        name=_name,
        folder=_folder,
        link=_link,
        words=_words,
    )
    known: dict[str, Any] = made.globals
    known |= {"histogram": histogram, "funnel_chart": funnel_chart, "whole": _whole}
    return made


def _share(steps: tuple[FunnelStep, ...], index: int) -> str:
    """A step's count relative to the step before, in words."""
    if index == 0 or steps[index].count is None or not steps[index - 1].count:
        return ""
    share = (steps[index].count or 0) / (steps[index - 1].count or 1)
    one, many = _NOUNS[steps[index - 1].name]
    return f"{number(share)} per {one}" if steps[index].name == "shots" else f"{_percent(share)} of {many}"


def _losses(steps: tuple[FunnelStep, ...], index: int) -> list[tuple[str, str]]:
    """What was lost before a step: (reason, in words)."""
    said: list[tuple[str, str]] = []
    for reason, count in steps[index].lost.items():
        of_what = ""
        if steps[index].name == "shots":
            of_what = f" {_NOUNS['readable videos'][count != 1]}"
        said.append((reason, f"{count:,}{of_what} {_words(reason)}"))
    return said


def _words(reason: str) -> str:
    return _REASONS.get(reason, reason.replace("_", " "))


def _whole(part: float, whole: float) -> str:
    return _percent(part / whole) if whole else ""


def _percent(share: float) -> str:
    """Never rounded up to all or down to nothing."""
    if share in (0, 1):
        return f"{share:.0%}"
    return f"{min(max(share, 0.001), 0.999):.1%}"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            value = seconds / length
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{seconds:.1f} s"


def _clock(seconds: float) -> str:
    """A time in a video: 1:02:03.4."""
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def _jpeg(data: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _link(path: str) -> str:
    """From a page in `reports/` to a file below the root: on a disk, or where a bucket is served or copied whole."""
    return f"../{quote(path)}"


def _name(uri: str) -> str:
    return PurePosixPath(uri).name or uri


def _folder(uri: str) -> str:
    return uri[: len(uri) - len(_name(uri))]

"""Charts as SVG text. Colours come from the page's style, by class, so that they follow light and dark."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from curate_assets.graph.graph import FunnelStep
from curate_assets.video.report.distributions import Distribution, Mark, nice_step
from curate_assets.video.report.funnel import WAITING

_COLUMN, _BAR, _HEIGHT, _LINE = 100.0, 56.0, 100.0, 16.0
_FILES = 2
"""The funnel's first steps count files, the others pieces of video: two scales."""

_WIDTH, _TOP, _FLOOR, _BOTTOM = 340.0, 34.0, 140.0, 160.0
_LETTER = 6.6
"""Width of a character of the chart's text, at most on average."""
_ROW = 13.0
"""Height of a row of labels: a label that would meet another one stands a row higher."""


def number(value: float, digits: int = 3) -> str:
    """A number for people: a few significant digits, thousands separated."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        factor = f"{value / 10**exponent:.{digits}g}"
        power = f"10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
        return power if factor == "1" else f"{factor}×{power}"
    return f"{value:.{digits}g}"


def funnel_chart(steps: Sequence[FunnelStep]) -> Markup:
    """The funnel: per step a bar of what arrived, on it what was lost, and a band from the step before.

    It has no text and a column per step, to be stretched over the columns of the page that hold the numbers.
    """
    size = f"0 0 {len(steps) * _COLUMN - (_COLUMN - _BAR):g} {_HEIGHT:g}"
    return _svg("funnel-chart", size, _said(steps), _funnel(steps), ' preserveAspectRatio="none"')


def labelled_funnel(steps: Sequence[FunnelStep]) -> Markup:
    """The funnel with the name and the count of each step below its bar, for where no page holds them."""
    side = (_COLUMN - _BAR) / 2
    labels = [
        _text("label", index * _COLUMN + _BAR / 2, _HEIGHT + line * _LINE, text, "middle")
        for index, step in enumerate(steps)
        for line, text in ((1, step.name), (2, "–" if step.count is None else number(step.count)))
    ]
    size = f"{-side:g} 0 {len(steps) * _COLUMN:g} {_HEIGHT + 2.5 * _LINE:g}"
    return _svg("funnel-chart", size, _said(steps), [*_funnel(steps), *labels])


def histogram(data: Distribution) -> Markup:
    """Bars stacked by series over an axis, thresholds as dashed lines."""
    bars = data.bars
    tallest = max(sum(bar.counts) for bar in bars)
    slot = min(_WIDTH / len(bars), 64.0) if data.scale == "values" else _WIDTH / len(bars)
    gap = max(1.0, min(slot * 0.25, 10.0)) if data.scale == "values" else 1.0
    parts = [
        Markup('<line class="grid" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(f"{_WIDTH:g}", f"{_TOP:g}"),
    ]
    parts.append(_text("tick", *_beside_marks(data, slot, f"{tallest:,}")))
    for index, bar in enumerate(bars):
        bottom = _FLOOR
        label = f"{bar.low:g}" if bar.low == bar.high else f"{number(bar.low)} – {number(bar.high)}"
        told = ", ".join(f"{count:,} {name}" for name, count in zip(data.series, bar.counts, strict=True) if count)
        for series, count in zip(data.series, bar.counts, strict=True):
            if count:
                height = max(1.0, count / tallest * (_FLOOR - _TOP))
                bottom -= height
                parts.append(
                    Markup('<rect class="s-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                        series.replace(" ", "-"),
                        f"{index * slot + gap / 2:.2f}",
                        f"{bottom:.2f}",
                        f"{slot - gap:.2f}",
                        f"{height:.2f}",
                        f"{label} {data.unit}: {told}",
                    )
                )
    parts.append(Markup('<line class="axis" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(f"{_WIDTH:g}", f"{_FLOOR:g}"))
    parts += [_text("tick", x, _FLOOR + 14, text, anchor) for x, text, anchor in _ticks(data, slot)]
    marks, rows = _marks(data, slot)
    said = f"{data.title}: {data.total:,} {data.counted}"
    above = _ROW * max(0, rows - 1)
    return _svg("histogram", f"0 {-above:g} {_WIDTH:g} {_BOTTOM + above:g}", said, [*parts, *marks])


def _beside_marks(data: Distribution, slot: float, text: str) -> tuple[float, float, str, str]:
    """Where a text stands over the grid line: at its beginning, or at its end if a threshold's line would cross it."""
    lines = (_line(data, mark, slot) for mark in data.marks)
    crossed = any(x is not None and x < len(text) * _LETTER for x in lines)
    return (_WIDTH if crossed else 0, _TOP - 5, text, "end" if crossed else "start")


def _marks(data: Distribution, slot: float) -> tuple[list[Markup], int]:
    """Thresholds as lines with labels that do not meet, and how many rows of labels there are. One that lies beyond the
    axis has a label with an arrow at that end, and no line."""
    parts: list[Markup] = []
    taken: list[list[tuple[float, float]]] = []
    for mark in sorted(data.marks, key=lambda mark: mark.value):
        x, text = _line(data, mark, slot), f"{mark.label} {number(mark.value)}"
        if x is None:
            before = mark.value < data.bars[-1].high
            x, text = (0.0, f"← {text}") if before else (_WIDTH, f"{text} →")
        else:
            line = Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>')
            parts.append(line.format(f"{x:.2f}", f"{_TOP - 16:g}", f"{_FLOOR:g}"))
        width = len(text) * _LETTER
        start, anchor = (x - width, "end") if x + width > _WIDTH else (x, "start")
        row = next((row for row, spans in enumerate(taken) if _free(start, start + width, spans)), len(taken))
        taken += [[]] if row == len(taken) else []
        taken[row].append((start, start + width))
        parts.append(_text("mark-label", x, _TOP - 21 - _ROW * row, text, anchor))
    return parts, len(taken)


def _free(start: float, end: float, spans: Sequence[tuple[float, float]]) -> bool:
    return all(end < other_start or other_end < start for other_start, other_end in spans)


_STANDALONE_STYLE = """
svg { background: #fff; font: 11px sans-serif; }
rect { fill: #0b6b5a; } text { fill: #333; }
.lost, .s-rejected { fill: #d9622b; } .band { fill: #d5e8e3; }
.spread { fill: #eee; } .waiting { fill: #ccc; } .axis { stroke: #222; } .grid { stroke: #e5e5e5; }
.mark { stroke: #222; stroke-dasharray: 3 2; }
"""


def standalone(chart: Markup, width: int) -> str:
    """A chart as an SVG document with colours of its own, for where the page's style is not: the Dagster UI."""
    start, body = str(chart).split(">", 1)
    _, _, across, down = map(float, start.split('viewBox="')[1].split('"')[0].split())
    height = round(width * down / across)  # else a browser takes 150 pixels
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    return f"{start.replace('<svg ', head)}><style>{_STANDALONE_STYLE}</style>{body}"


def _said(steps: Sequence[FunnelStep]) -> str:
    return ", ".join(f"{step.count} {step.name}" for step in steps if step.count is not None)


def _funnel(steps: Sequence[FunnelStep]) -> list[Markup]:
    scales = [_greatest(steps[:_FILES]), _greatest(steps[_FILES:])]
    heights = [
        None if step.count is None else _height(step.count, scales[index >= _FILES]) for index, step in enumerate(steps)
    ]
    parts: list[Markup] = []
    for index, (step, height) in enumerate(zip(steps, heights, strict=True)):
        left = index * _COLUMN
        before = heights[index - 1] if index else None
        if height is None:
            parts.append(_rectangle("absent", left, 16, _BAR))
            continue
        parts.append(_rectangle("bar", left, height, _BAR))
        if before is not None:
            start = left - _COLUMN + _BAR
            if index == _FILES:
                parts.append(_band("spread", start, left, before, height))
                continue
            parts.append(_band("band", start, left, before, before))
            waiting = _height(min(step.lost.get(WAITING, 0), steps[index - 1].count or 0), scales[index >= _FILES])
            cap = max(0.0, before - height)
            parts.append(_rectangle("lost", left, cap - min(cap, waiting), _BAR, height))
            parts.append(_rectangle("waiting", left, min(cap, waiting), _BAR, before - min(cap, waiting)))
    return parts


def level(steps: Sequence[FunnelStep], index: int) -> float:
    """The height of a step's bar, in percent of its scale."""
    count = steps[index].count
    return 0.0 if count is None else _height(count, _greatest(steps[_FILES:] if index >= _FILES else steps[:_FILES]))


def _greatest(steps: Sequence[FunnelStep]) -> int:
    return max((step.count or 0 for step in steps), default=0)


def _height(count: int, greatest: int) -> float:
    return max(0.8, count / greatest * _HEIGHT) if count else 0.0


def _rectangle(style: str, left: float, height: float, width: float, above: float = 0.0) -> Markup:
    if height <= 0:
        return Markup("")
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        style, f"{left:g}", f"{_HEIGHT - above - height:.2f}", f"{width:g}", f"{height:.2f}"
    )


def _band(style: str, left: float, right: float, start: float, end: float) -> Markup:
    middle = (left + right) / 2
    one, other = _HEIGHT - start, _HEIGHT - end
    curve = f"C{middle:g},{one:.2f} {middle:g},{other:.2f} {right:g},{other:.2f}"
    path = f"M{left:g},{_HEIGHT:g} V{one:.2f} {curve} V{_HEIGHT:g} Z"
    return Markup('<path class="{}" d="{}"/>').format(style, path)


def _line(data: Distribution, mark: Mark, slot: float) -> float | None:
    """Where a threshold lies on the axis; None outside of it. Of values with a bar each, it parts those that it rejects
    from the others."""
    if data.scale != "values":
        return _place(data, mark.value, slot)
    before = (bar.high < mark.value if mark.rejects == "low" else bar.high <= mark.value for bar in data.bars)
    return slot * sum(before)


def _place(data: Distribution, value: float, slot: float) -> float | None:
    """Where a value lies on the axis of a histogram; None outside of it."""
    if data.scale == "log" and value <= 0:
        return None
    ruled = [index for index, bar in enumerate(data.bars) if bar.high > bar.low]
    if not ruled or not data.bars[ruled[0]].low <= value <= data.bars[ruled[-1]].high:
        return None
    index = next(i for i in ruled if value <= data.bars[i].high)
    low, high = data.bars[index].low, data.bars[index].high
    part = math.log(value / low) / math.log(high / low) if data.scale == "log" else (value - low) / (high - low)
    return slot * (index + part)


def _ticks(data: Distribution, slot: float) -> list[tuple[float, str, str]]:
    bars = data.bars
    if data.scale == "values":
        return _apart([(slot * (index + 0.5), f"{bar.low:g}", "middle") for index, bar in enumerate(bars)])
    ruled = [bar for bar in bars if bar.high > bar.low]
    ticks: list[tuple[float, str, str]] = [(slot / 2, "0", "middle")] if len(ruled) < len(bars) else []
    if not ruled:
        return ticks
    low, high = ruled[0].low, ruled[-1].high
    if data.scale == "log":
        first, last = round(math.log10(low)), round(math.log10(high))
        values = [10.0**power for power in range(first, last + 1)]
    else:
        step = nice_step(high - low, 6)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        values = [index * step for index in range(first, last + 1)]
    for value in values:
        x = _place(data, min(max(value, low), high), slot)
        if x is not None:
            anchor = "start" if x < 4 else "end" if x > _WIDTH - 4 else "middle"
            ticks.append((x, number(round(value, 10)), anchor))
    return _apart(ticks)


def _apart(ticks: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Ticks whose texts do not meet those before them; the others are left out."""
    kept: list[tuple[float, str, str]] = []
    end = -_LETTER
    for x, text, anchor in ticks:
        width = len(text) * _LETTER
        start = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        if start >= end + _LETTER / 2:
            kept.append((x, text, anchor))
            end = start + width
    return kept


def _text(style: str, x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        style, f"{x:.2f}", f"{y:g}", anchor, text
    )


def _svg(style: str, box: str, said: str, parts: Sequence[Markup], more: str = "") -> Markup:
    head = Markup('<svg class="{}" viewBox="{}" role="img" aria-label="{}"{}>')
    return head.format(style, box, said, Markup(more)) + Markup("").join(parts) + Markup("</svg>")

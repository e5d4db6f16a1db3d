"""What came of captioning, counted."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.caption_texts import CAPTION_STAGES
from curate_assets.video.report.library import Library
from curate_resources.declarations.table import Table


@dataclass(frozen=True)
class CaptionCount:
    """Caption windows of one stage, model and status.

    Attributes:
        stage: the table.
    """

    stage: str
    model: str
    revision: str
    status: str
    windows: int
    prompt_tokens: int
    output_tokens: int


def caption_counts(library: Library) -> tuple[CaptionCount, ...] | None:
    """By stage and model, the most frequent status first; None without captions."""
    if not library.written(CAPTIONS):
        return None
    return tuple(count for table in CAPTION_STAGES for count in _counts(library, table))


def _counts(library: Library, table: Table) -> Iterator[CaptionCount]:
    names = ["model", "model_revision", "caption_status"]
    rows = library.tables.read(table, columns=[*names, "prompt_tokens", "output_tokens", "status"])
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows.to_pylist():
        status = row["caption_status"] or ("error" if row["status"] == "failed" else row["status"])
        tally = counts[row["model"] or "", row["model_revision"] or "", status]
        for place, number in enumerate((1, row["prompt_tokens"] or 0, row["output_tokens"] or 0)):
            tally[place] += number
    ordered = sorted(counts.items(), key=lambda item: (item[0][:2], -item[1][0], item[0][2]))
    for (model, revision, status), (windows, prompt, output) in ordered:
        yield CaptionCount(table.name, model, revision, status, windows, prompt, output)

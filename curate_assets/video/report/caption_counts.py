"""What came of captioning, counted."""

from collections import defaultdict
from dataclasses import dataclass

from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.report.library import Library


@dataclass(frozen=True)
class CaptionCount:
    """Caption windows of one model and status."""

    model: str
    revision: str
    status: str
    windows: int
    prompt_tokens: int
    output_tokens: int


def caption_counts(library: Library) -> tuple[CaptionCount, ...] | None:
    """By model, the most frequent status first; None without captions."""
    if not library.written(CAPTIONS):
        return None
    names = ["model", "model_revision", "caption_status"]
    rows = library.tables.read(CAPTIONS, columns=[*names, "prompt_tokens", "output_tokens", "status"])
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows.to_pylist():
        status = row["caption_status"] or ("error" if row["status"] == "failed" else row["status"])
        tally = counts[row["model"] or "", row["model_revision"] or "", status]
        for place, number in enumerate((1, row["prompt_tokens"] or 0, row["output_tokens"] or 0)):
            tally[place] += number
    ordered = sorted(counts.items(), key=lambda item: (item[0][:2], -item[1][0], item[0][2]))
    return tuple(
        CaptionCount(model, revision, status, windows, prompt, output)
        for (model, revision, status), (windows, prompt, output) in ordered
    )

"""The page that asks about one clip at a time."""

import re

from curate_assets.video.labelling.labelling import AskedClip, LabelledThreshold
from curate_assets.video.report.page import environment
from curate_assets.video.verdicts import SCORES
from gpu_kernels.scores.thresholds import Threshold

_TEMPLATE = "label.html.jinja"
_FOR_THE_DOCS = re.compile(r";? see \[[^]]*\]\([^)]*\)|`")
"""Links to other pages and marks of code, which this page does not have."""


def render_label_page(
    threshold: Threshold, clip: AskedClip | None, before: str | None, so_far: LabelledThreshold, nonce: str
) -> str:
    """The page: its score is not shown, which would suggest an answer.

    Args:
        clip: that is asked about; None: none is left.
        before: the clip that was asked about last, to return to.
        nonce: of the script that takes keys.
    """
    (title,) = (score.title for score in SCORES if score.name == threshold.score)
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            threshold=threshold,
            title=title,
            meaning=_FOR_THE_DOCS.sub("", threshold.meaning).partition(". ")[0].rstrip("."),
            clip=clip,
            before=before,
            so_far=so_far,
            nonce=nonce,
        )
    )

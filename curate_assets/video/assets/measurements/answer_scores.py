"""`answer_scores`: what the answers to questions about a clip's windows come to, for `clip_selection`."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import Field

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least, at_most
from curate_assets.video.assets.clip_answers import CLIP_ANSWERS
from curate_assets.video.assets.clip_questions import nothing_asked
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.measuring import SO_FAR, unless_rejected
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.questions import SEMANTIC_FILTER, VIDEO_TYPE
from gpu_kernels.scores.answer_verdicts import Answers, classified, filtered, labels_of
from gpu_kernels.strict import StrictModel


class AnswerScoresConfig(StrictModel):
    """Which answers count for and against a clip. Another list asks no model again."""

    against: list[str] = Field(default_factory=list[str])
    """Questions whose answer `yes` speaks against a window; where none is named, those of the list
    `semantic_filter`."""
    labels: list[str] = Field(default_factory=list[str])
    """Questions whose answer `yes` is a label of the clip; where none is named, those of the list `video_type`."""
    allowed: list[str] = Field(default_factory=list[str])
    """Labels that one window at least should have, for `clip_selection.windows_allowed_min`."""
    blocked: list[str] = Field(default_factory=list[str])
    """Labels that few windows should have, for `clip_selection.windows_blocked_max`."""


ANSWER_SCORES = Table(
    name="answer_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("answer_scores",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("windows", pa.int32(), "windows that a model was asked about"),
        Column("malformed", pa.int32(), "of these, those about which its text could not be read"),
        Column(
            "against",
            pa.float32(),
            "share of all windows with an answer that speaks against them; null where no text could be read",
        ),
        Column("reasons", pa.list_(pa.string()), "the questions with such an answer in any window, sorted"),
        Column("labels", pa.list_(pa.string()), "the labels that any window has, sorted"),
        Column("allowed", pa.int32(), "windows with a label of `answer_scores.allowed`; null where none is named"),
        Column("blocked", pa.float32(), "share of all windows with a label of `answer_scores.blocked`"),
    ),
    description=(
        "What a model's answers come to for every clip: the share of windows that they speak against, and labels. "
        "With no questions configured, there are no rows."
    ),
)


def open_answer_scorer(config: Any, storage: Storage) -> Worker:
    """A worker that counts answers."""
    settings: AnswerScoresConfig = config.answer_scores

    def score(work: Work) -> Mapping[str, list[Row]]:
        answers = _by_clip(work.inputs[CLIP_ANSWERS.name])
        rows: list[Row] = []
        for clip in work.items.to_pylist():
            windows = answers.get(clip["clip_id"])
            found = _scores(windows, settings) if windows else {"status": "empty"}
            rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], **found})
        return {ANSWER_SCORES.name: rows}

    return score


def _by_clip(rows: pa.Table) -> dict[str, list[Answers]]:
    """The windows of every clip in order. A question that failed leaves its window out."""
    found: dict[str, dict[int, dict[str, str | None] | None]] = {}
    for row in rows.select(["clip_id", "window", "question", "answer", "malformed", "status"]).to_pylist():
        if row["status"] != "ok":
            continue
        windows = found.setdefault(row["clip_id"], {})
        answers = windows.setdefault(row["window"], None)
        if not row["malformed"]:
            windows[row["window"]] = {**(answers or {}), row["question"]: row["answer"]}
    return {clip: [windows[index] for index in sorted(windows)] for clip, windows in found.items()}


def _scores(windows: list[Answers], settings: AnswerScoresConfig) -> Row:
    against = filtered(windows, settings.against or SEMANTIC_FILTER)
    malformed = sum(answers is None for answers in windows)
    allowed = [labels_of([answers], settings.allowed) for answers in windows]
    return {
        "windows": len(windows),
        "malformed": malformed,
        "against": against.share if malformed < len(windows) else None,
        "reasons": sorted({reason for reasons in against.reasons for reason in reasons}),
        "labels": labels_of(windows, settings.labels or VIDEO_TYPE),
        "allowed": sum(map(bool, allowed)) if settings.allowed else None,
        "blocked": classified(windows, block=settings.blocked).share,
    }


SCORE_ANSWERS = Stage(
    name="score_answers",
    item=CLIPS.name,
    reads=(CLIP_ANSWERS.name,),
    writes=(ANSWER_SCORES,),
    open=open_answer_scorer,
    idle=nothing_asked,
    gates=(SO_FAR,),
    eligible=unless_rejected("clip_questions"),
)

SCORES = (
    Score(
        "windows_against",
        "Windows that answers speak against",
        ("against",),
        within=(0, 1),
        thresholds=(
            at_most(
                "Greatest share of a clip's windows that the answers to `answer_scores.against` speak against. The "
                "reference has 0.5.",
                ge=0,
                le=1,
            ),
        ),
    ),
    Score(
        "windows_allowed",
        "Windows with an allowed label",
        ("allowed",),
        scale="values",
        steady=False,
        thresholds=(
            at_least(
                "Fewest windows with a label of `answer_scores.allowed`; 1 is the reference's rule.", whole=True, ge=0
            ),
        ),
    ),
    Score(
        "windows_blocked",
        "Windows with a blocked label",
        ("blocked",),
        within=(0, 1),
        thresholds=(
            at_most(
                "Greatest share of a clip's windows with a label of `answer_scores.blocked`. The reference has 0.5.",
                ge=0,
                le=1,
            ),
        ),
    ),
)

ASSET = Asset(
    ANSWER_SCORES,
    SCORE_ANSWERS,
    "measurements",
    scores=SCORES,
    recorded=Record("answers", ("against", "labels", "reasons")),
    section=AnswerScoresConfig,
    exported=True,
)

"""`clip_questions`: what a model is asked about every clip, one row per question, so that a new one is asked alone."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import Field, model_validator

from curate_assets.graph.graph import Asset
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.measuring import SO_FAR, unless_rejected
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.questions import PRESETS, Question, together
from gpu_kernels.scores.measurement import CostlyConfig


class ClipQuestionsConfig(CostlyConfig):
    """Which questions the model of `clip_answers` is asked about every window of every clip."""

    lists: list[str] = Field(default_factory=list[str])
    """The lists that are asked: `semantic_filter` (13 criteria), `video_type` (27 labels), and those of `own`."""
    own: dict[str, dict[str, Question]] = Field(default_factory=dict[str, dict[str, Question]])
    """Lists of your own by name: for each question the key of its answers, and its text, or its `text` and `choices`
    where it is not answered by yes or no ([questions](captioning.md#questions))."""

    @model_validator(mode="after")
    def _told_apart(self) -> "ClipQuestionsConfig":
        if taken := sorted(self.own.keys() & PRESETS.keys()):
            raise ValueError(f"own.{taken[0]}: a list of that name is there already, choose another one")
        self.asked()
        return self

    def asked(self) -> dict[str, Question]:
        """The questions by key."""
        return together({**PRESETS, **self.own}, self.lists)


CLIP_QUESTIONS = Table(
    name="clip_questions",
    grain="question",
    keys=("video_id", "clip_id", "question"),
    sections=("clip_questions",),
    identity=("clip_id", "question", "digest"),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("question", pa.string(), "the key of the question"),
        Column("text", pa.string(), "the question"),
        Column("choices", pa.list_(pa.string()), "the answers to choose from"),
        Column("digest", pa.string(), "digest of the question and its choices"),
        Column("start_frame", pa.int64(), "first frame of the clip, in the source video"),
        Column("end_frame", pa.int64(), "the frame after its last one"),
    ),
    description=(
        "What a model is asked about every clip, one row per question. An answer is kept as long as its question stays "
        "as it is. With no questions configured, there are no rows."
    ),
)


def open_questioner(config: Any, storage: Storage) -> Worker:
    """A worker that lists the questions about clips."""
    asked: Mapping[str, Question] = config.clip_questions.asked()

    def about(clip: Row) -> list[Row]:
        keys = {name: clip[name] for name in ("video_id", "clip_id", "start_frame", "end_frame")}
        return [
            {**keys, "question": key, "text": each.text, "choices": each.choices, "digest": each.digest}
            for key, each in asked.items()
        ]

    def listed(work: Work) -> Mapping[str, list[Row]]:
        return {CLIP_QUESTIONS.name: [row for clip in work.items.to_pylist() for row in about(clip)]}

    return listed


def nothing_asked(config: Any) -> bool:
    """Whether there are no questions."""
    return not config.clip_questions.lists


LIST_QUESTIONS = Stage(
    name="list_questions",
    item=CLIPS.name,
    reads=(),
    writes=(CLIP_QUESTIONS,),
    open=open_questioner,
    idle=nothing_asked,
    gates=(SO_FAR,),
    eligible=unless_rejected("clip_questions"),
)

ASSET = Asset(CLIP_QUESTIONS, LIST_QUESTIONS, "clips", section=ClipQuestionsConfig)

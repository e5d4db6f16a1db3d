"""`clip_answers`: what a model answers to questions about every window of every clip, from storyboard frames."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset
from curate_assets.video.asked_windows import asker_of, asking_needs, fetching, shown
from curate_assets.video.assets.clip_questions import CLIP_QUESTIONS, nothing_asked
from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_rows import MODEL_COLUMNS, outcome
from curate_assets.video.shown_frames import holds_what_is_shown
from curate_assets.video.storyboard_frames import Storyboard, Storyboards
from curate_resources.declarations.stage import LiveWorker, Made, Stage, Work
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.answerer import ANSWERERS, AnswersConfig
from gpu_kernels.captioners.answers import read_answers
from gpu_kernels.captioners.asking import Asker, EngineGivenUp
from gpu_kernels.captioners.questions import Question, prompt_for, schema_for
from gpu_kernels.captioners.types import Caption, CaptionRequest, failed_caption, prompt_hash
from gpu_kernels.captioners.windows import caption_windows, window_frames

CLIP_ANSWERS = Table(
    name="clip_answers",
    grain="answer",
    keys=("video_id", "clip_id", "question", "start_frame"),
    sections=("clip_answers",),
    model=lambda config: config.clip_answers.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("question", pa.string(), "the key of the question"),
        Column("window", pa.int32(), "number of the window in its clip, from 0"),
        Column("start_frame", pa.int64(), "first frame of the window, in the source video"),
        Column("end_frame", pa.int64(), "the frame after its last one"),
        Column("answer", pa.string(), "one of the choices; null where the model gave none of them"),
        Column("malformed", pa.bool_(), "whether the text holds no answers to any question"),
        Column("text", pa.string(), "what the model wrote, to all questions that it was asked together"),
        Column("answer_status", pa.string(), "`success`, `truncated`, `blocked`, `error` or `skipped`"),
        *MODEL_COLUMNS,
        Column("prompt_hash", pa.string(), "digest of all that it was asked, and of the settings that shape an answer"),
        Column("frames", pa.int32(), "storyboard frames that were shown"),
        Column(
            "prompt_tokens",
            pa.int32(),
            "tokens of the whole request, where the backend tells; in the row of its first question only",
            tokens=True,
        ),
        Column("output_tokens", pa.int32(), "likewise, of the whole answer", tokens=True),
        Column("seconds", pa.float32(), "likewise, from asking to the answer, among others that were asked meanwhile"),
    ),
    description=(
        "What a vision-language model answers to the questions of `clip_questions` about every window of every clip, "
        "all in one request. Selection reads these, so another threshold asks nothing again. With "
        "no questions configured, there are no rows."
    ),
)


@dataclass(frozen=True)
class _Window:
    """One request: a window, with the questions about it and their rows before anybody was asked."""

    board: Storyboard
    positions: list[int]
    questions: Mapping[str, Question]
    prompt: str
    guided: bool
    rows: list[Row]

    @property
    def key(self) -> str:
        return f"{self.rows[0]['clip_id']}-{self.rows[0]['start_frame']}"

    def request(self) -> CaptionRequest:
        return shown(self.board, self.positions, self.prompt, schema_for(self.questions) if self.guided else None)

    def answered(self, caption: Caption) -> list[Row]:
        said = read_answers(caption.text, self.questions)
        shared: Row = {
            "text": caption.text,
            "malformed": None if caption.text is None else said is None,
            "answer_status": caption.status,
            **outcome(caption, "Answer"),
        }
        rows = [{**row, **shared, "answer": (said or {}).get(row["question"])} for row in self.rows]
        rows[0] |= {
            "prompt_tokens": caption.prompt_tokens,
            "output_tokens": caption.output_tokens,
            "seconds": caption.seconds,
        }
        return rows


class Answers(LiveWorker):
    """Asks about the windows of all works in the order of their coming, as many at a time as the model takes."""

    def __init__(self, asker: Asker, settings: AnswersConfig, storage: Storage) -> None:
        self._asker, self._settings, self._storage = asker, settings, storage

    async def rows(self, work: Work) -> Made:
        windows = await asyncio.to_thread(_windows, self._settings, self._storage, work)
        asked = [asyncio.ensure_future(self._answered(window)) for window in windows]
        try:
            return {CLIP_ANSWERS.name: [row for rows in await asyncio.gather(*asked) for row in rows]}
        finally:
            for each in asked:
                each.cancel()

    async def close(self) -> None:
        await self._asker.close()

    async def _answered(self, window: _Window) -> list[Row]:
        if not window.positions:
            return window.rows
        size = window.board.size(window.positions)
        try:
            caption = await self._asker.ask(lambda: asyncio.to_thread(window.request), size, key=window.key)
        except EngineGivenUp:
            raise
        except Exception as failure:  # of this window alone: raised, it would have every question asked on its own
            caption = failed_caption(failure)
        return window.answered(caption)


def open_answerer(config: Any, storage: Storage) -> LiveWorker:
    """A worker that asks a vision-language model."""
    settings: AnswersConfig = config.clip_answers
    asker = asker_of(settings)
    assert asker is not None  # else the stage is idle: see `_somebody_to_ask`
    return Answers(asker, settings, storage)


def _windows(settings: AnswersConfig, storage: Storage, work: Work) -> list[_Window]:
    """The windows of all clips. Questions about one clip that are asked together are one request per window; a clip of
    fewer than four frames is one window without pictures, which nobody is asked about."""
    found: list[_Window] = []
    model, revision = settings.identity()
    boards = Storyboards(storage, work.inputs[STORYBOARDS.name], settings.frames_per_second)
    items = sorted(work.items.to_pylist(), key=lambda row: (row["video_id"], row["start_frame"], row["clip_id"]))
    for (video_id, clip_id), group in groupby(items, key=lambda row: (row["video_id"], row["clip_id"])):
        asked = list(group)
        start, end = asked[0]["start_frame"], asked[0]["end_frame"]
        questions = {row["question"]: Question(text=row["text"], choices=row["choices"]) for row in asked}
        prompt = prompt_for(questions, settings.prompt)
        board = boards.of(video_id)
        inside = board.within(start, end)  # nothing else: what comes after a clip never changes its answers
        spans = caption_windows(start, end, settings.window_frames, settings.remainder_frames)
        shared = {
            "video_id": video_id,
            "clip_id": clip_id,
            "answer_status": "skipped",
            "model": model,
            "model_revision": revision,
            "prompt_hash": prompt_hash(settings.model_copy(update={"prompt": prompt})),
            "status": "empty",
        }
        for index, (first, stop) in enumerate(spans or [(start, end)]):
            frames = [board.frames[at] for at in inside]
            chosen = window_frames(frames, first, stop, settings.max_frames) if spans else []
            window = {"window": index, "start_frame": first, "end_frame": stop, "frames": len(chosen)}
            rows = [{**shared, **window, "question": key} for key in questions]
            found.append(_Window(board, [inside[at] for at in chosen], questions, prompt, settings.guided, rows))
    return found


ANSWER = Stage(
    name="answer",
    item=CLIP_QUESTIONS.name,
    reads=(STORYBOARDS.name,),
    writes=(CLIP_ANSWERS,),
    open=open_answerer,
    prepare=fetching(CLIP_ANSWERS.name),
    heavy=True,
    idle=nothing_asked,
    needs_of=asking_needs(CLIP_ANSWERS.name),
)


def _somebody_to_ask(config: Any) -> None:
    asked, backend = config.clip_questions.lists, config.clip_answers.backend
    if asked and backend == "none":
        raise ValueError("clip_questions.lists names questions, but clip_answers has no backend that could be asked")
    if not asked and backend != "none":
        raise ValueError("clip_answers has a backend, but no questions: name lists in clip_questions.lists")


def _agree(config: Any) -> None:
    _somebody_to_ask(config)
    holds_what_is_shown(CLIP_ANSWERS.name)(config)


ASSET = Asset(CLIP_ANSWERS, ANSWER, "clips", section=ANSWERERS, agrees=_agree, exported=True)

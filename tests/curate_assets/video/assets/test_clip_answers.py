"""Questions to a model about clips: what is asked, when, and what selection makes of the answers."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import ValidationError

from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_answers import CLIP_ANSWERS
from curate_assets.video.assets.clip_questions import CLIP_QUESTIONS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.answer_scores import ANSWER_SCORES
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.graph import VIDEO
from curate_resources.pipeline.computation import Treatment
from gpu_kernels.backends import Backends
from gpu_kernels.captioners.answerer import AnswersConfig
from gpu_kernels.captioners.questions import SEMANTIC_FILTER, VIDEO_TYPE
from gpu_kernels.captioners.types import Caption, CaptionRequest

WINDOW = 64
ANSWERED = {"answer_scores", "clip_answers", "clip_questions", "clip_selection"}


@dataclass(frozen=True)
class Seer:
    """Answers yes to the questions whose keys the first picture names; `?` gives no JSON, `!` an error."""

    asked: list[tuple[str, list[str]]]
    model: str = "seer"
    revision: str = "1"

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        assert window.schema is not None and window.prompt is not None
        questions = window.schema["required"]
        assert all(json.dumps(question) in window.prompt for question in questions)
        seen = window.frames[0].decode()
        self.asked.append((seen, questions))
        if "!" in seen:
            return Caption(None, "error", "no idea")
        if "?" in seen:
            return Caption("Who knows?", "success", None, 9, 3)
        said = {each: "yes" if each in seen.split() else "no" for each in questions}
        return Caption(json.dumps(said), "success", None, 100, 10)


class SeerConfig(AnswersConfig):
    """Answers without a model."""

    asked: ClassVar[list[tuple[str, list[str]]]] = []
    backend: Literal["seer"] = "seer"
    window_frames: int = WINDOW
    remainder_frames: int = WINDOW // 2

    def identity(self) -> tuple[str, str]:
        return "seer", "1"

    def load(self) -> Seer:
        return Seer(self.asked)


BACKENDS = Backends(AnswersConfig, [SeerConfig], "no.such.group")
GRAPH = replace(
    VIDEO, listed=tuple(replace(a, section=BACKENDS) if a.name == "clip_answers" else a for a in VIDEO.listed)
)
SHOWN = {
    "a": ["slideshow cooking", "", "slideshow fast_zoom"],
    "b": ["pets", "?"],
    "c": ["?"],
    "d": ["cooking"],
}


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    """A video for each clip of SHOWN, with a picture in the middle of every window."""
    SeerConfig.asked.clear()
    made = TemporaryRoot(tmp_path)
    made.add("s", [f"/videos/{name}.mp4" for name in SHOWN])
    made.store(SOURCE_VIDEOS, "s", [{"uri": f"/videos/{name}.mp4", "video_id": name} for name in SHOWN])
    boards, clips = [], []
    for name, windows in SHOWN.items():
        show(made, name, windows)
        offset = 0
        for index, text in enumerate(windows):
            for frame in range(index * WINDOW, (index + 1) * WINDOW, WINDOW // 4):
                place = {"path": f"media/{name}", "offset": offset, "bytes": len(text)}
                boards.append({"video_id": name, "frame": frame, "pts_ns": frame * 10**7, **place})
            offset += len(text)
        clip = {"video_id": name, "clip_id": f"{name}-0", "shot": 0, "start_ns": 0, "end_ns": 10**9}
        clips.append(clip | {"start_frame": 0, "end_frame": len(windows) * WINDOW})
    made.store(STORYBOARDS, "s", boards)
    made.store(CLIPS, "s", clips)
    motion = {"global_mean": 0.1, "per_patch_min_256": 0.1, "peak": 0.1}
    made.store(MOTION_SCORES, "s", [{"video_id": name, "clip_id": f"{name}-0", **motion} for name in SHOWN])
    return made


def show(root: TemporaryRoot, name: str, windows: list[str]) -> None:
    folder = root.folder / "media"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(windows))


def run(root: TemporaryRoot, **settings: Any) -> dict[str, int]:
    """What was computed, by table."""
    done = root.materialize(GRAPH, *ANSWERED, settings=settings)
    return {each.table: each.computed for each in done if each.computed}


def selected(root: TemporaryRoot) -> dict[str, list[str]]:
    return {row["video_id"]: row["reasons"] for row in root.rows(CLIP_SELECTION)}


BOTH: dict[str, Any] = {"clip_questions": {"lists": ["semantic_filter", "video_type"]}}


def test_every_window_is_asked_once_about_everything_and_a_row_says_what_was_answered(root: TemporaryRoot) -> None:
    run(root, **BOTH)
    everything = [*SEMANTIC_FILTER, *VIDEO_TYPE]
    assert sorted(seen for seen, _ in SeerConfig.asked) == sorted(text for each in SHOWN.values() for text in each)
    assert all(questions == everything for _, questions in SeerConfig.asked)
    rows = {(row["video_id"], row["window"], row["question"]): row for row in root.rows(CLIP_ANSWERS)}
    assert len(rows) == 40 * sum(map(len, SHOWN.values()))
    texts = {(name, index): text for name, each in SHOWN.items() for index, text in enumerate(each)}
    yes = {key for key, row in rows.items() if row["answer"] == "yes"}
    assert yes == {(*window, each) for window, text in texts.items() for each in text.replace("?", "").split()}
    bad = rows["b", 1, "pets"]
    assert (bad["answer"], bad["malformed"], bad["text"], bad["status"]) == (None, True, "Who knows?", "ok")
    assert sum(row["output_tokens"] or 0 for row in rows.values()) == 10 * 5 + 3 * 2
    scores = {row["video_id"]: row for row in root.rows(ANSWER_SCORES)}
    assert scores["a"]["against"] == pytest.approx(2 / 3) and scores["a"]["reasons"] == ["fast_zoom", "slideshow"]
    assert (scores["b"]["against"], scores["b"]["malformed"], scores["b"]["labels"]) == (0, 1, ["pets"])
    assert scores["c"]["against"] is None
    assert all(reasons == [] for reasons in selected(root).values())  # no threshold, no verdict


def test_thresholds_and_lists_ask_nothing_again_and_a_new_question_asks_itself_alone(root: TemporaryRoot) -> None:
    run(root, **BOTH)
    asked = len(SeerConfig.asked)
    assert run(root, **BOTH) == {}
    strict = BOTH | {"clip_selection": {"windows_against_max": 0.5}}
    assert run(root, **strict) == {"clip_selection": 4}
    assert selected(root) == {"a": ["windows_against_high"], "b": [], "c": ["windows_against_unmeasured"], "d": []}
    listed = BOTH | {
        "answer_scores": {"allowed": ["pets"], "blocked": ["cooking"]},
        "clip_selection": {"windows_allowed_min": 1, "windows_blocked_max": 0.5},
    }
    assert run(root, **listed) == {"answer_scores": 4, "clip_selection": 4}
    assert selected(root) == {
        "a": ["windows_allowed_low"],
        "b": [],
        "c": ["windows_allowed_low"],
        "d": ["windows_allowed_low", "windows_blocked_high"],
    }
    assert len(SeerConfig.asked) == asked
    before = {(row["clip_id"], row["window"], row["question"]): row["fingerprint"] for row in root.rows(CLIP_ANSWERS)}
    questions = {"lists": ["mine", "video_type", "semantic_filter"], "own": {"mine": {"night": "Is it night?"}}}
    assert run(root, clip_questions=questions)["clip_answers"] == 4
    assert all(each == ["night"] for _, each in SeerConfig.asked[asked:]) and len(SeerConfig.asked) == 2 * asked
    after = {(row["clip_id"], row["window"], row["question"]): row["fingerprint"] for row in root.rows(CLIP_ANSWERS)}
    assert before.items() < after.items() and len(after) == len(before) + asked
    questions["own"]["mine"]["night"] = "Is it dark?"
    run(root, clip_questions=questions)
    assert len(SeerConfig.asked) == 3 * asked and all(each == ["night"] for _, each in SeerConfig.asked[2 * asked :])
    run(root, clip_questions={"lists": ["video_type"]})
    assert len(SeerConfig.asked) == 3 * asked and len(root.rows(CLIP_ANSWERS)) == 27 * asked


def test_a_window_that_fails_is_asked_again_and_loses_no_other(root: TemporaryRoot) -> None:
    show(root, "a", ["slideshow cooking", "", "slideshow !ast_zoom"])
    run(root, **BOTH)
    failed = [row for row in root.rows(CLIP_ANSWERS) if row["status"] == "failed"]
    assert {(row["video_id"], row["window"], row["error"]["message"]) for row in failed} == {("a", 2, "no idea")}
    show(root, "a", SHOWN["a"])
    SeerConfig.asked.clear()
    assert run(root, **BOTH)["clip_answers"] == 40
    assert sorted(seen for seen, _ in SeerConfig.asked) == sorted(SHOWN["a"])
    assert all(row["status"] == "ok" for row in root.rows(CLIP_ANSWERS))


def test_by_default_nobody_is_asked(root: TemporaryRoot) -> None:
    """And what was curated before there were answers can still be selected from."""
    root.materialize(VIDEO, "clip_selection")
    assert all(reasons == [] for reasons in selected(root).values())
    root.materialize(VIDEO, *ANSWERED)
    assert not (root.rows(CLIP_QUESTIONS) or root.rows(CLIP_ANSWERS) or root.rows(ANSWER_SCORES))
    assert all(reasons == [] for reasons in selected(root).values())
    plan = VIDEO.plan(ANSWERED, validated({}), str(root.folder))
    assert [stage.name for stage in plan.stages if stage.heavy] == []
    # The fingerprints are those of a selection that knows of no answers.
    plan = VIDEO.plan(["clip_selection"], validated({}), str(root.folder))
    (select,) = plan.stages
    assert "windows_against_max" not in Treatment(select, plan).made_by["clip_selection"]
    without = replace(select, reads=tuple(name for name in select.reads if name != "answer_scores"))
    for unit in plan.units("s"):
        assert Treatment(select, plan).of(unit).pending == Treatment(without, plan).of(unit).pending == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"clip_questions": {"lists": ["semantics"]}}, "there is no list of questions 'semantics'"),
        ({"clip_questions": {"lists": ["video_type"]}}, "clip_answers has no backend"),
        ({"clip_questions": {"own": {"video_type": {}}}}, "a list of that name is there already"),
        ({"clip_answers": {"backend": "openai", "model": "m", "endpoint": "http://h"}}, "name lists in clip_questions"),
    ],
)
def test_questions_and_backend_go_together(given: dict[str, Any], said: str) -> None:
    with pytest.raises((ValidationError, Exception), match=said):
        validated(given)

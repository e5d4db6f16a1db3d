"""`clip_questions`: a row per clip and question, whose digest is the question's own."""

from pathlib import Path

import pytest
import yaml

from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_questions import CLIP_QUESTIONS, ClipQuestionsConfig
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from gpu_kernels.captioners.questions import SEMANTIC_FILTER

OWN = """
lists: [roads, semantic_filter]
own:
  roads:
    night: Was it filmed at night?
    wet: {text: "Is the road wet?", choices: [yes, no, unclear]}
"""


def test_every_clip_has_a_row_for_each_question(tmp_path: Path) -> None:
    root = TemporaryRoot(tmp_path)
    root.add("x", ["/videos/a.mp4"])
    root.store(SOURCE_VIDEOS, "x", [{"uri": "/videos/a.mp4", "video_id": "a"}])
    spans = [(0, 40), (40, 90)]
    clips = [{"video_id": "a", "clip_id": f"a-{at}", "start_frame": at, "end_frame": end} for at, end in spans]
    root.store(CLIPS, "x", clips)
    questions = yaml.safe_load(OWN)
    settings = {"clip_questions": questions, "clip_answers": {"backend": "openai", "endpoint": "http://h/v1"}}
    settings["clip_answers"] |= {"revision": "r"}
    root.materialize(VIDEO, CLIP_QUESTIONS.name, settings=settings)
    rows = root.rows(CLIP_QUESTIONS)
    keys = ["night", "wet", *SEMANTIC_FILTER]
    assert sorted((row["clip_id"], row["question"]) for row in rows) == sorted(
        (clip["clip_id"], key) for clip in clips for key in keys
    )
    assert {(row["start_frame"], row["end_frame"]) for row in rows} == set(spans)
    wet = [row for row in rows if row["question"] == "wet"]
    assert wet[0]["choices"] == ["yes", "no", "unclear"] and wet[0]["text"] == "Is the road wet?"
    digests = {row["question"]: row["digest"] for row in rows}
    assert len(set(digests.values())) == len(keys) and wet[0]["digest"] == wet[1]["digest"]
    questions["own"]["roads"]["wet"]["choices"].append("dry")
    root.materialize(VIDEO, CLIP_QUESTIONS.name, settings=settings)
    changed = {row["question"] for row in root.rows(CLIP_QUESTIONS) if row["digest"] != digests[row["question"]]}
    assert changed == {"wet"}


def test_the_same_key_may_not_ask_two_things() -> None:
    own = {"one": {"night": "Is it night?"}, "two": {"night": "Is it dark?"}}
    assert ClipQuestionsConfig(lists=["one"], own=yaml.safe_load(yaml.dump(own))).asked().keys() == {"night"}
    with pytest.raises(Exception, match="night"):
        validated({"clip_questions": {"lists": ["one", "two"], "own": own}})

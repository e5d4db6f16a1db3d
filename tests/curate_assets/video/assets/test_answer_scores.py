"""`answer_scores`: counts of answers by clip, against SQL over the same answers."""

import random
from pathlib import Path

import pytest

from curate_assets.operations.query import run_query
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_answers import CLIP_ANSWERS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.answer_scores import ANSWER_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO

AGAINST, LABELS = ["slideshow", "fast_zoom"], ["pets", "cooking", "sports/exercise"]
QUESTIONS = [*AGAINST, *LABELS]
SETTINGS = {
    "clip_questions": {"lists": ["semantic_filter", "video_type"]},
    "clip_answers": {"backend": "openai", "endpoint": "http://127.0.0.1:9/v1", "revision": "r"},
    "answer_scores": {"allowed": ["pets", "cooking"], "blocked": ["cooking"]},
}
IN_SQL = """
with windows as (
    select clip_id, "window",
        bool_or(malformed) as malformed,
        coalesce(bool_or(answer = 'yes' and question in ('slideshow', 'fast_zoom')), false) as against,
        coalesce(bool_or(answer = 'yes' and question in ('pets', 'cooking')), false) as allowed,
        coalesce(bool_or(answer = 'yes' and question = 'cooking'), false) as blocked
    from clip_answers where status = 'ok' group by all)
select clip_id, count(*) as windows, count(*) filter (malformed) as malformed,
    case when bool_and(malformed) then null else count(*) filter (against) / count(*) end as against,
    count(*) filter (allowed) as allowed, count(*) filter (blocked) / count(*) as blocked
from windows group by clip_id order by clip_id
"""


def test_answers_are_counted_by_window(tmp_path: Path) -> None:
    root = TemporaryRoot(tmp_path)
    root.add("x", ["/videos/a.mp4"])
    root.store(SOURCE_VIDEOS, "x", [{"uri": "/videos/a.mp4", "video_id": "a"}])
    chance = random.Random(5)
    clips = [{"video_id": "a", "clip_id": f"a-{at:02}", "start_frame": at, "end_frame": at + 1} for at in range(40)]
    answers = []
    for clip in clips[1:]:  # nobody was asked about the first
        for window in range(chance.randrange(1, 5)):
            unread, failed = chance.random() < 0.2, chance.random() < 0.05
            for question in QUESTIONS:
                said = None if unread or failed else chance.choices(["yes", "no", None], [2, 5, 1])[0]
                row = {"video_id": "a", "clip_id": clip["clip_id"], "window": window, "start_frame": window}
                row |= {"question": question, "answer": said, "malformed": None if failed else unread}
                answers.append(row | {"status": "failed" if failed else "ok"})
    root.store(CLIPS, "x", clips)
    root.store(CLIP_ANSWERS, "x", answers)
    root.materialize(VIDEO, ANSWER_SCORES.name, settings=SETTINGS)
    scores = {row["clip_id"]: row for row in root.rows(ANSWER_SCORES)}
    assert len(scores) == len(clips) and scores["a-00"]["status"] == "empty"
    expected = run_query(root.storage, IN_SQL).to_pylist()
    assert len(expected) > 30 and {row["malformed"] for row in expected} >= {0, 1}
    for row in expected:
        found = {name: scores[row["clip_id"]][name] for name in row}
        assert found == pytest.approx(row), row["clip_id"]
    yes = {(row["clip_id"], row["question"]) for row in answers if row["answer"] == "yes"}
    for clip_id, found in scores.items():
        if found["status"] == "ok":
            assert found["reasons"] == sorted(each for each in AGAINST if (clip_id, each) in yes)
            assert found["labels"] == sorted(each for each in LABELS if (clip_id, each) in yes)

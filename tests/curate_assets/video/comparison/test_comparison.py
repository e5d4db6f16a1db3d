"""Captions of two tables compared by judges that prefer the first, the longer one, or fail."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from curate_assets.graph.graph import CommandSection
from curate_assets.graph.platform import ConfigError
from curate_assets.graph.shard_checks import Finding, Shard
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.refined_captions import REFINED_CAPTIONS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.comparison.comparison import Comparison, compare_captions
from curate_assets.video.comparison.pairs import caption_table
from curate_assets.video.comparison.regressions import JUDGE, baselines_are_captions
from curate_assets.video.graph import VIDEO
from curate_assets.video.report.comparison_page import render_comparison_page
from curate_cli.app import app
from curate_resources.declarations.table import Table
from gpu_kernels.backends import Backends
from gpu_kernels.captioners.judge import SCHEMA, JudgeConfig
from gpu_kernels.captioners.types import Caption, CaptionRequest
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.scores.share_bounds import share_bounds

WINDOW = 64
BEFORE = ["short", "a longer text", "the same", None, "<b>1</b>", "only here"]
AFTER = ["not so short", "longer", "the same", "new", "<b>2</b>", None]


def captions_in(question: str) -> tuple[str, str]:
    """The first and the second caption that a judge is asked about."""
    lines = [line for line in question.splitlines() if line.startswith(("first: ", "second: "))]
    first, second = (json.loads(line.partition(" ")[2]) for line in lines)
    return first, second


def longer(first: str, second: str) -> str:
    return "tie" if len(first) == len(second) else "first" if len(first) > len(second) else "second"


class Judge:
    """Sees what it is asked, and decides by the captions alone."""

    model, revision = "judge", "1"

    def __init__(self, config: "FakeJudgeConfig") -> None:
        self.config = config

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        assert window.prompt is not None and window.schema == SCHEMA and window.frames
        first, second = captions_in(window.prompt)
        self.config.asked.append((first, second, window.frames))
        if self.config.prefers == "fails" and self.config.asked.count(self.config.asked[-1]) == 1:
            return Caption("I cannot tell.", "success", prompt_tokens=10, output_tokens=2)
        winner = "first" if self.config.prefers == "first" else longer(first, second)
        answer = {"reason": f"because of {first} & {second}", "winner": winner}
        return Caption(json.dumps(answer), "success", prompt_tokens=10, output_tokens=2)


class FakeJudgeConfig(JudgeConfig):
    """Judges without a model."""

    asked: ClassVar[list[tuple[str, str, list[bytes]]]] = []
    backend: Literal["fake"] = "fake"
    prompt: str = "Which?"
    prefers: str = "longer"

    def identity(self) -> tuple[str, str]:
        return "judge", "1"

    def load(self) -> Judge:
        return Judge(self)


JUDGES: Backends[JudgeConfig] = Backends(JudgeConfig, [FakeJudgeConfig], "no.such.group")
GRAPH = replace(VIDEO, commands={JUDGE: CommandSection(JUDGES, baselines_are_captions)})
SETTINGS = GRAPH.config_model("Settings", __name__)


def rows_of(texts: list[str | None]) -> list[dict[str, Any]]:
    return [
        {"video_id": "v", "clip_id": "v-0", "window": at, "start_frame": at * WINDOW, "end_frame": (at + 1) * WINDOW}
        | {"text": text, "caption_status": "success" if text else "blocked"}
        for at, text in enumerate(texts)
    ]


def picture(frame: int) -> bytes:
    _, jpeg = cv2.imencode(".jpg", np.full((36, 64, 3), frame % 256, np.uint8))
    return jpeg.tobytes()


def storyboard(root: TemporaryRoot, windows: int) -> None:
    frames = range(0, windows * WINDOW, WINDOW // 4)
    pictures = [picture(frame) for frame in frames]
    (root.folder / "media").mkdir()
    (root.folder / "media" / "v").write_bytes(b"".join(pictures))
    board = [
        {"video_id": "v", "frame": frame, "pts_ns": frame * 10**7, "path": "media/v", "bytes": len(pictures[at])}
        | {"offset": sum(map(len, pictures[:at]))}
        for at, frame in enumerate(frames)
    ]
    root.store(STORYBOARDS, "s", board)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[TemporaryRoot]:
    made = TemporaryRoot(tmp_path / "root")
    made.add("s", ["/videos/v.mp4"])
    made.store(CAPTIONS, "s", rows_of(BEFORE))
    made.store(REFINED_CAPTIONS, "s", rows_of(AFTER)[:-1])
    storyboard(made, len(BEFORE))
    FakeJudgeConfig.asked.clear()
    yield made


def compared(
    root: TemporaryRoot, a: Table = CAPTIONS, b: Table = REFINED_CAPTIONS, sample: int | None = None, **judge: Any
) -> Comparison:
    config = SETTINGS.model_validate({JUDGE: judge})
    return compare_captions((root.tables, a), (root.tables, b), config, sample)


def test_windows_are_matched_and_only_those_with_other_texts_are_judged(root: TemporaryRoot) -> None:
    found = compared(root)
    assert found.pairs.counts == {"only_a": 1, "only_b": 0, "no_text": 1, "unchanged": 1, "changed": 3}
    assert found.results == {"a": 1, "b": 1, "tie": 1, "failed": 0} and found.agreement == 1
    assert {each.pair.window[2] // WINDOW: each.result for each in found.judged} == {0: "b", 1: "a", 4: "tie"}
    pairs = {(BEFORE[at], AFTER[at]) for at in (0, 1, 4)}
    assert {each[:2] for each in FakeJudgeConfig.asked} == pairs | {(b, a) for a, b in pairs}
    ((_, second, shown),) = (each for each in FakeJudgeConfig.asked if each[0] == "longer")
    assert (second, shown) == ("a longer text", [picture(frame) for frame in (64, 80, 96, 112)])
    assert found.cost.requests == 6 and (found.cost.prompt_tokens, found.cost.output_tokens) == (60, 12)


def test_a_judge_that_always_says_first_decides_nothing(root: TemporaryRoot) -> None:
    found = compared(root, prefers="first")
    assert found.results == {"a": 0, "b": 0, "tie": 3, "failed": 0}
    assert found.agreement == 0 and found.regressions == 0


def test_what_was_judged_is_not_asked_again(root: TemporaryRoot) -> None:
    first = compared(root, sample=1)
    assert first.cost.requests == 2 and len(first.judged) == 1
    assert compared(root).cost.requests == 4
    again = compared(root)
    assert again.cost.requests == 0 and again.results == {"a": 1, "b": 1, "tie": 1, "failed": 0}
    turned = compared(root, REFINED_CAPTIONS, CAPTIONS)  # the same questions
    assert turned.cost.requests == 0 and [each.result for each in turned.judged] == ["a", "b", "tie"]
    root.store(REFINED_CAPTIONS, "s", rows_of(["another", *AFTER[1:-1]]))
    assert compared(root).cost.requests == 2
    assert compared(root, prompt="Which is better?").cost.requests == 6


def test_a_window_without_a_verdict_is_told_and_asked_again(root: TemporaryRoot) -> None:
    found = compared(root, prefers="fails")
    assert found.results["failed"] == 3 and found.regressions is None and found.exceeds(1)
    assert found.judged[0].failure == "the judge gave no verdict: 'I cannot tell.'"
    assert found.cost.output_tokens == 12
    assert compared(root, prefers="fails").results == {"a": 1, "b": 1, "tie": 1, "failed": 0}
    root.store(STORYBOARDS, "s", [])
    lost = compared(root, prompt="Which is better?")
    assert lost.judged[0].failure is not None and "the video has no storyboard" in lost.judged[0].failure


def test_the_same_table_of_two_roots(root: TemporaryRoot, tmp_path: Path) -> None:
    other = TemporaryRoot(tmp_path / "other")
    other.store(CAPTIONS, "t", rows_of(["this is much longer", *BEFORE[1:]]))
    config = SETTINGS.model_validate({})
    found = compare_captions((root.tables, CAPTIONS), (other.tables, CAPTIONS), config)
    assert found.results == {"a": 0, "b": 1, "tie": 0, "failed": 0}
    assert (found.a, found.b) == (f"captions of {root.folder}", f"captions of {other.folder}")
    assert not (other.folder / "judgements").exists()


def test_what_cannot_be_compared_is_said(root: TemporaryRoot, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table of captions 'clips'; there are captions, refined_captions"):
        caption_table(VIDEO.tables, "clips")
    empty = TemporaryRoot(tmp_path / "empty")
    with pytest.raises(NotThere, match=r"there are no captions under .*empty: materialize"):
        compare_captions((root.tables, CAPTIONS), (empty.tables, CAPTIONS), SETTINGS.model_validate({}))
    with pytest.raises(ConfigError, match=r"set caption_judge\.backend"):
        compare_captions((root.tables, CAPTIONS), (root.tables, REFINED_CAPTIONS), validated({}))


def checked(root: TemporaryRoot, limit: float, **judge: Any) -> Finding:
    config = SETTINGS.model_validate({JUDGE: judge, "checks": {"max_caption_regressions": limit}})
    (check,) = (each for each in GRAPH.checks if each.name == "regressions_few" and each.table is REFINED_CAPTIONS)
    return check.judge(Shard("s", root.tables, config, VIDEO.units))


def test_the_check_fails_where_captions_are_surely_worse_than_their_baseline(root: TemporaryRoot) -> None:
    worse = {"baselines": {"refined_captions": "captions"}}
    found = checked(root, 0.008, **worse)
    (said,) = found.problems
    assert said.startswith("1 of 3 judged windows are worse than in captions: surely more than 0.8% (0.8% to 90.6%)")
    assert found.numbers == {"judged": 3.0, "regressions_share": pytest.approx(1 / 3)}
    asked = len(FakeJudgeConfig.asked)
    assert not checked(root, 0.009, **worse).problems and len(FakeJudgeConfig.asked) == asked == 6
    FakeJudgeConfig.asked.clear()
    (said,) = checked(root, 1, **worse, prefers="fails", prompt="Which is better?").problems
    assert said.startswith("the judge decided nothing: the judge gave no verdict")
    assert checked(root, 0).note.startswith("not judged: caption_judge.baselines")
    root.store(CAPTIONS, "t", rows_of(["much, much longer"]))  # another shard is none of its business
    assert checked(root, 0.009, **worse, baseline_windows=1).numbers["judged"] == 1
    with pytest.raises(ValidationError, match="no table of captions 'clips'"):
        checked(root, 0, baselines={"captions": "clips"})
    with pytest.raises(ConfigError, match="has no backend"):
        validated({JUDGE: worse})


def test_shares_have_exact_bounds(root: TemporaryRoot) -> None:
    assert share_bounds(10, 100) == pytest.approx((0.0490, 0.1762), abs=5e-5)  # as tables of Clopper and Pearson's have
    assert share_bounds(0, 30) == pytest.approx((0, 1 - 0.025 ** (1 / 30)))
    assert share_bounds(30, 30) == pytest.approx((0.025 ** (1 / 30), 1))
    assert share_bounds(0, 0) == (0, 1)
    found = compared(root)
    assert found.bounds == pytest.approx((0.0084, 0.9057), abs=5e-5)  # 1 of 3
    assert found.exceeds(0.008) and not found.exceeds(0.009)


def test_the_page_shows_pairs_and_reasons_and_escapes_texts(root: TemporaryRoot) -> None:
    page = render_comparison_page(root.tables, compared(root), 30)
    titles = ["captions is better", "refined_captions is better", "Ties"]
    assert [page.index(f"<h2>{title}</h2>") for title in titles] == sorted(
        page.index(f"<h2>{title}</h2>") for title in titles
    )
    assert page.count('<figure class="clip">') == 3 and "disagree</h2>" not in page
    assert page.count('<img src="data:image/jpeg;base64,') == 9
    assert "because of short &amp; not so short" in page and "because of not so short &amp; short" in page
    assert "&lt;b&gt;1&lt;/b&gt;" in page and "<b>1</b>" not in page
    unsure = render_comparison_page(root.tables, compared(root, prefers="first"), 1)
    assert "<h2>The two orders disagree</h2>" in unsure and "1 of 3, evenly spread" in unsure
    assert unsure.count('<figure class="clip">') == 1


class _Server(BaseHTTPRequestHandler):
    """OpenAI's chat API; prefers the longer caption, and remembers what it was asked."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        (question,) = (part["text"] for part in body["messages"][0]["content"] if part["type"] == "text")
        said = json.dumps({"reason": "It says more.", "winner": longer(*captions_in(question))})
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 7}
        answer = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_the_command_asks_a_server_and_fails_for_too_many_regressions(
    root: TemporaryRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (_Server,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    judge = f"backend: openai, model: m, revision: r, endpoint: 'http://127.0.0.1:{server.server_port}/v1'"
    (root.folder / "curate.yaml").write_text(f"caption_judge: {{{judge}}}")

    def told(*arguments: str) -> tuple[Any, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            app(["compare", "captions", "captions", *arguments, "--no-open", "--root", str(root.folder)])
        return end.value.code, capsys.readouterr().out

    try:
        code, said = told("refined_captions", "--max-regressions", "0.008", "--json")
        found = json.loads(said)
        assert (code, found["exceeded"], found["results"]) == (1, True, {"a": 1, "b": 1, "tie": 1, "failed": 0})
        assert found["cost"] == {"requests": 6, "prompt_tokens": 600, "output_tokens": 42} and len(asked) == 6
        assert asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA
        assert not any("refined" in json.dumps(body) for body in asked)
        assert "It says more." in (root.folder / "reports" / "comparison.html").read_text()

        code, said = told("refined_captions", "--max-regressions", "0.5")
        assert code == 0 and len(asked) == 6
        assert "3 windows with different captions, 1 with the same; 2 cannot be compared" in said
        assert "1  A better: captions" in said and "33.3%, at 95% confidence 0.8% to 90.6%" in said
        assert "asked m 0 times" in said
        code, said = told("--json")
        assert code == 2 and "name another table" in json.loads(said)["error"]["message"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

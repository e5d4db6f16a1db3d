"""Thresholds from what people say of clips: by lists and files, by several people at once, and on the page."""

import csv
import html
import http.client
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import pytest
from typer.testing import CliRunner

from curate_assets.settings.resolve import CONFIG_FILE, resolve_config, validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.clip_lists import write_list
from curate_assets.video.labelling.kept_labels import FOLDER
from curate_assets.video.labelling.labelling import ON_PAGE, Labelling
from curate_assets.video.report.label_page import render_label_page
from curate_assets.video.verdicts import THRESHOLDS
from curate_cli.app import app
from curate_cli.label_server import LabelServer
from gpu_kernels.errors import UserError
from gpu_kernels.scores.labelled_threshold import Goals
from gpu_kernels.shots.splitting import SECOND

NUMBER = 3000


def measured(root: TemporaryRoot, motion: Any) -> None:
    """A shard whose clips have that much motion."""
    root.add("a", ["/videos/film.mp4"])
    root.store(SOURCE_VIDEOS, "a", [{"uri": "/videos/film.mp4", "video_id": "film"}])
    keys = [{"video_id": "film", "clip_id": f"clip-{place:05d}"} for place in range(len(motion))]
    spans = [
        {
            "start_frame": 50 * at,
            "end_frame": 50 * at + 50,
            "start_ns": 2 * at * SECOND,
            "end_ns": 2 * (at + 1) * SECOND,
        }
        for at in range(len(motion))
    ]
    root.store(CLIPS, "a", [{**key, **span} for key, span in zip(keys, spans, strict=True)])
    root.store(MOTION_SCORES, "a", [{**key, "peak": float(each)} for key, each in zip(keys, motion, strict=True)])


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    made = TemporaryRoot(tmp_path / "data")
    measured(made, np.random.default_rng(0).random(NUMBER))
    return made


def labelling(root: TemporaryRoot, by: str, name: str = "motion_peak") -> Labelling:
    return Labelling(root.tables, resolve_config(root.storage), name, by, Goals())


def invoked(root: TemporaryRoot, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["calibrate", "--root", root.storage.root, "--no-open", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_of_a_list_only_its_clips_are_asked_about(root: TemporaryRoot) -> None:
    listed = [f"clip-{place:05d}" for place in range(100, 130)]
    name = write_list(root.storage, "some", listed, [None] * len(listed))
    config = validated({"clip_selection": {"only": name}})
    some = Labelling(root.tables, config, "motion_peak", "ann", Goals())
    assert some.result().clips == 30 and {*some.ask(50, 60)} <= {*listed}


def test_lists_are_labelled_elsewhere_until_the_threshold_is_known(root: TemporaryRoot, tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    motion = root.tables.read(MOTION_SCORES)["peak"].to_numpy()
    good = motion + 0.1 * chance.normal(size=NUMBER) > 0.6
    answers, before = tmp_path / "answers.csv", root.tables.dataset(MOTION_SCORES.name).version
    command = ["--labels", "motion_peak", "--labeller", "ann"]
    assert "no labels for motion_peak_min yet" in invoked(root, *command, "--no-ask")
    for _ in range(4):
        rows = list(csv.DictReader(io.StringIO(invoked(root, *command, "--next", "50"))))
        assert len(rows) == 50 and {row["uri"] for row in rows} == {"/videos/film.mp4"}
        for row in rows:
            row["label"] = "keep" if good[int(row["clip_id"][-5:])] else "0"
        with answers.open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        invoked(root, *command, "--answers", str(answers))

    asked = {row["clip_id"] for row in labelling(root, "x").exported()}
    other = next(clip for clip in (f"clip-{at:05d}" for at in range(NUMBER)) if clip not in asked)
    answers = tmp_path / "more.jsonl"
    answers.write_text("".join(json.dumps({"clip_id": clip, "label": "keep"}) + "\n" for clip in (other, "gone")))
    shown = json.loads(invoked(root, *command, "--answers", str(answers), "--json"))
    assert (shown["found"]["labels"], shown["not_drawn"], shown["unknown"], shown["written"]) == (200, 1, 1, None)

    shown = json.loads(invoked(root, *command, "--no-ask", "--json", "--write"))
    found = shown["found"]
    kept = motion.astype(np.float32) >= np.float32(found["threshold"])
    precision, recall = (kept & good).sum() / kept.sum(), (kept & good).sum() / good.sum()
    assert found["precision"]["low"] <= precision <= found["precision"]["high"]
    assert found["recall"]["low"] <= recall <= found["recall"]["high"]
    assert abs(found["threshold"] - 0.6) < 0.08 and found["kept"] == kept.mean()
    assert f"motion_peak_min: {found['threshold']}" in root.storage.read(CONFIG_FILE).decode()
    assert resolve_config(root.storage).clip_selection.motion_peak_min == found["threshold"]
    assert root.tables.dataset(MOTION_SCORES.name).version == before and FOLDER not in root.tables.names()

    invoked(root, *command, "--export", str(tmp_path / "all.jsonl"))
    exported = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert len(exported) == 202 and sum(row["weight"] for row in exported) == pytest.approx(NUMBER)
    assert {row["clip_id"]: row["weight"] for row in exported}[other] == 0
    assert "precision" in invoked(root, *command, "--no-ask")


def test_people_who_label_at_once_are_asked_different_clips_and_lose_nothing(root: TemporaryRoot) -> None:
    ann, bob = labelling(root, "ann"), labelling(root, "bob")
    words: tuple[Literal["keep"], Literal["reject"]] = ("keep", "reject")
    for _ in range(10):
        (one,), (other,) = ann.ask(1, ON_PAGE), bob.ask(1, ON_PAGE)
        assert one != other
        ann.say({one: words[0]})
        bob.say({other: words[1]})
    bob.say({one: "reject"})
    carl = labelling(root, "carl")
    assert len(carl.exported()) == 20
    result = carl.result()
    assert result.found is not None and (result.found.labels, result.disputed) == (20, 1)
    assert {row["label"] for row in carl.exported() if row["clip_id"] == one} == {"reject"}
    assert not {row["clip_id"] for row in carl.exported()} & set(carl.ask(50, ON_PAGE))
    root.storage.write(f"{FOLDER}/motion_peak_min/broken.jsonl", b'{"clip": 3}\n')
    with pytest.raises(UserError, match=r"broken\.jsonl"):
        carl.result()


def test_labels_of_data_frames_count_and_nothing_is_written_while_none_says_keep(
    root: TemporaryRoot, tmp_path: Path
) -> None:
    command = ["--labels", "motion_peak"]
    one, other = (row["clip_id"] for row in json.loads(invoked(root, *command, "--next", "2", "--json")))
    answers = tmp_path / "labels.csv"
    answers.write_text(f"clip_id,label\n{one},0.0\n")
    said = invoked(root, *command, "--answers", str(answers), "--write", code=2)
    assert "no clip is labelled keep" in said and not root.storage.exists(CONFIG_FILE)
    answers.write_text(f"clip_id,label\n{one},0.0\n{other},1.0\n")
    said = invoked(root, *command, "--answers", str(answers), "--write")
    assert "by 2 labels" in said and root.storage.exists(CONFIG_FILE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip_id,label\nx,good\n", "line 2: 'good' is no label"),
        ("clip_id,label\nx,keep\nx,reject\n", "line 3: x has two different labels"),
        ("clip,label\nx,keep\n", "does not name the column clip_id"),
    ],
)
def test_a_wrong_file_of_labels_is_told_and_nothing_is_kept(
    root: TemporaryRoot, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "labels.csv").write_text(text)
    assert said in invoked(root, "--labels", "motion_peak", "--answers", str(tmp_path / "labels.csv"), code=2)
    assert not root.storage.files(f"{FOLDER}/motion_peak_min")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels", "motion_peek"], "did you mean 'motion_peak'"),
        (["--labels", "seconds"], "say seconds_min or seconds_max"),
        (["--labels", "faces_share_max"], "set faces.enabled"),
        (["--labels", "seconds_max", "--all"], "leave out --score and --all"),
        (["--next", "5"], "need --labels SCORE"),
        (["--labels", "seconds_max", "--no-ask", "--write"], "no labels for seconds_max yet"),
        (["--labels", "seconds_max", "--next", "5", "--write"], "leave out --write"),
    ],
)
def test_what_cannot_be_labelled_is_said(root: TemporaryRoot, arguments: list[str], said: str) -> None:
    assert said in invoked(root, *arguments, code=2)


@pytest.fixture
def shown(pictured: Callable[..., TemporaryRoot]) -> TemporaryRoot:
    """Six clips with pictures, the more motion the brighter."""
    pictures = [np.full((180, 320, 3), 40 * at, np.uint8) for at in range(6)]
    spans = {f"clip-{at:02d}": ("film", 10 * at, 10 * at + 10) for at in range(6)}
    root = pictured({"film": pictures}, spans)
    root.store(
        MOTION_SCORES, "x", [{"video_id": "film", "clip_id": f"clip-{at:02d}", "peak": at / 10} for at in range(6)]
    )
    rows = root.tables.read(CLIPS).to_pylist()
    root.store(CLIPS, "x", [{**row, "start_ns": 0, "end_ns": SECOND} for row in rows])
    return root


def test_the_page_asks_takes_answers_and_goes_back(shown: TemporaryRoot, chromium: Any) -> None:
    server = LabelServer(labelling(shown, "ann"), 0)
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    with server.serving():
        page.goto(server.url)
        about = page.locator(".about .mono")
        asked: list[str] = []
        for _ in range(5):
            asked.append(about.inner_text())
            said = "Keep" if asked[-1] >= "clip-03" else "Reject"
            assert page.evaluate("document.querySelector('.pictures img').naturalWidth") == 320
            page.keyboard.press(said[0].lower())
            page.wait_for_function(
                "before => document.querySelector('.about .mono')?.textContent != before", arg=asked[-1]
            )
        page.keyboard.press("b")
        page.wait_for_function("before => document.querySelector('.about .mono').textContent == before", arg=asked[-1])
        page.get_by_role("button", name="Unsure").click()
        page.wait_for_function("before => document.querySelector('.about .mono')?.textContent != before", arg=asked[-1])
        page.get_by_role("button", name="Keep").click()
        page.get_by_text("No clips are left to label").wait_for()
        page.get_by_role("button", name="Finish").click()
        page.get_by_text("Finished.").wait_for()
        assert server.finished.wait(10) and server.failed is None
    page.close()
    said = {row["clip_id"]: row["label"] for row in labelling(shown, "bob").exported()}
    assert len(set(asked)) == 5 and len(said) == 6 and said[asked[-1]] == "unsure"
    assert all(said[clip] == ("keep" if clip >= "clip-03" else "reject") for clip in asked[:-1])


def test_nobody_else_can_answer(shown: TemporaryRoot) -> None:
    server = LabelServer(labelling(shown, "ann"), 0)
    address = urlsplit(server.url)

    def status(method: str, path: str, host: str, body: str | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", address.port or 0)
        connection.request(method, path, body, {"Host": host})
        return connection.getresponse().status

    with server.serving():
        assert status("GET", "/", address.netloc) == 404
        assert status("POST", "/guess/say", address.netloc, "clip=clip-00&said=keep") == 404
        assert status("POST", f"{address.path}say", "elsewhere.example", "clip=clip-00&said=keep") == 403
        assert status("POST", f"{address.path}say", address.netloc, "clip=clip-00&said=perhaps") == 400
        assert status("POST", f"{address.path}say", address.netloc, "clip=clip-00&said=keep") == 303
        with pytest.raises(UserError, match="choose another --port"):
            LabelServer(labelling(shown, "bob"), address.port or 0)


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_every_window(shown: TemporaryRoot, layout_faults: Any, width: int) -> None:
    asks = labelling(shown, "ann")
    clips = asks.ask(6, ON_PAGE)
    asks.say(dict.fromkeys(clips, "keep"))
    page = render_label_page(asks.threshold, asks.clip(clips[0]), clips[1], asks.result(), "nonce")
    assert "These labels are enough" in page
    assert layout_faults(page, width) == []
    assert shown.tables.read(STORYBOARDS).num_rows == 6


def test_the_page_says_in_words_what_every_threshold_means(shown: TemporaryRoot) -> None:
    so_far = labelling(shown, "ann").result()
    for each in THRESHOLDS:
        said = html.unescape(render_label_page(each, None, None, so_far, "nonce")).partition("</header>")[0]
        assert f"What the setting means: {each.meaning[:20]}" in said
        assert "](" not in said and "`" not in said, each.setting

"""`curate search` as it is called."""

import json

import pytest
from typer.testing import CliRunner

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.measurements.clip_labels import CLIP_LABELS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_cli.app import app


@pytest.fixture
def root(tmp_path) -> TemporaryRoot:
    made = TemporaryRoot(tmp_path)
    made.add("a", ["one.mp4"])
    made.store(SOURCE_VIDEOS, "a", [{"uri": "/x/one.mp4", "video_id": "v"}])
    clips = [{"video_id": "v", "clip_id": f"c{number}"} for number in range(3)]
    span = {"start_frame": 0, "end_frame": 50, "start_ns": 0, "end_ns": 2 * 10**9}
    made.store(CLIPS, "a", [clip | span for clip in clips])
    labels = (["tabby cat", "sofa"], ["fox"], ["[bold]sofa[/bold]"])
    made.store(CLIP_LABELS, "a", [clip | {"labels": each} for clip, each in zip(clips, labels, strict=True)])
    vectors = ([1.0, 0.0], [0.0, 1.0], [0.8, 0.6])
    model = {"model": "m", "model_revision": "1", "frames": 1}
    made.store(CLIP_EMBEDDINGS, "a", [clip | model | {"vector": v} for clip, v in zip(clips, vectors, strict=True)])
    return made


def curate(root: TemporaryRoot, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["search", *arguments, "--root", str(root.folder)])
    return done.exit_code, done.stdout


def document(root: TemporaryRoot, *arguments: str):
    code, said = curate(root, *arguments, "--json")
    return code, json.loads(said)


def test_hits_are_shown_with_what_matched(root):
    code, said = curate(root, "sofa")
    assert code == 0 and "c0" in said and "clip_labels.labels #1 " in said and ": [bold]sofa[/bold]" in said
    assert "captions.text: no rows yet" in said and "c1" not in said
    assert "No clip; searched: clip_labels.labels" in curate(root, "zebra")[1]
    assert curate(root, "sofa", "fox") == curate(root, "sofa fox")  # without quotation marks


def test_json_has_everything_and_a_page_is_made(root, monkeypatch):
    code, found = document(root, "cats", "--where", "end_ns > 1e9", "--shard", "a")
    assert code == 0 and found["searched"] == ["clip_labels.labels"] and found["page"] is None
    (hit,) = found["hits"]
    assert (hit["clip_id"], hit["uri"], hit["matches"][0]["snippet"]) == ("c0", "/x/one.mp4", "tabby cat")
    assert [each["clip_id"] for each in document(root, "--like", "c0")[1]["hits"]] == ["c2", "c1"]
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    assert "page: " in curate(root, "cats", "--open")[1]
    assert "tabby cat" in (root.folder / "reports" / "search.html").read_text()


def test_recall_is_measured(root):
    (measured,) = document(root, "--recall", "--limit", "2")[1]
    assert (measured["table"], measured["vectors"], measured["indexed"], measured["recall"]) == (
        "clip_embeddings",
        3,
        0,
        1.0,
    )
    assert "none: all are compared" in curate(root, "--recall")[1]
    rows = [{"video_id": "w", "clip_id": "d", "model": "n", "model_revision": "1", "frames": 1, "vector": [1.0, 0, 0]}]
    root.add("b", ["two.mp4"])
    root.store(CLIP_EMBEDDINGS, "b", rows)  # another model, with vectors of another length
    assert document(root, "--recall")[1][0]["queries"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing is looked for"),
        (("sofa", "--where", "nothing = 1"), "no table has a column 'nothing'"),
        (("--like", "c9"), "it is not a clip"),
        (("--like", "gone.jpg"), "it is not a file, nor a clip"),
        (("sofa", "--recall"), "give it no words"),
        (("sofa", "--shard", "b"), "b"),
    ],
)
def test_what_cannot_be_asked_is_an_error_that_says_why(root, arguments, said):
    code, found = document(root, *arguments)
    assert code != 0 and said in found["error"]["message"]

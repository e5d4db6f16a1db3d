"""Captions under their pictures: the page, the command, and what the UI shows."""

import base64
import json
import re

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.variants import with_variants
from curate_assets.video.assets import captions
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.graph import VIDEO
from curate_assets.video.report.caption_page import CAPTIONS_PATH
from curate_cli.app import app


@pytest.fixture(scope="module")
def captioned(finished, tmp_path_factory):
    """Every window has a text, but for the first of each shard, which was refused one."""
    root = finished.copy_to(tmp_path_factory.mktemp("captioned") / "data")
    for shard in root.shards:
        rows = root.tables.read(CAPTIONS, shard).to_pylist()
        for number, row in enumerate(rows):
            row |= {"text": f"No. {number}: a *bike* <b>& a</b> tree", "caption_status": "success", "status": "ok"}
        refused = {"type": "CaptionBlocked", "message": "the server's content filter"}
        rows[0] |= {"text": None, "caption_status": "blocked", "status": "empty", "error": refused}
        root.tables.swap(CAPTIONS, shard, pa.Table.from_pylist(rows, schema=CAPTIONS.rows_schema))
    return root


def pictures(page: str) -> list[np.ndarray | None]:
    found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), cv2.IMREAD_COLOR) for each in found]


def told(capsys, root, *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        app(["captions", *arguments, "--no-open", "--root", str(root.path)])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_windows_are_shown_with_their_pictures_and_texts(captioned, capsys):
    total = captioned.tables.read(CAPTIONS).num_rows
    said = told(capsys, captioned)
    page = (captioned.path / CAPTIONS_PATH).read_text()
    assert f"{total} windows" in said and "No. 1: a *bike* <b>& a</b> tree" in said
    assert page.count('<figure class="clip">') == total
    assert len(shown := pictures(page)) == 3 * total and all(each is not None for each in shown)
    assert page.count("a *bike* &lt;b&gt;&amp; a&lt;/b&gt; tree") == total - len(captioned.shards)
    assert page.count("blocked: the server&#39;s content filter") == len(captioned.shards)


def test_windows_are_found_by_shard_clip_and_text(captioned, capsys):
    shard = captioned.shards[-1]
    rows = captioned.tables.read(CAPTIONS, shard).to_pylist()
    in_shard = json.loads(told(capsys, captioned, "--shard", shard, "--json"))
    assert in_shard["total"] == len(rows) and {each["shard"] for each in in_shard["windows"]} == {shard}
    (one,) = json.loads(told(capsys, captioned, "--clip", rows[-1]["clip_id"], "--json"))["windows"]
    assert one["texts"] == {"captions": rows[-1]["text"]}
    assert json.loads(told(capsys, captioned, "--search", "NO. 1:", "--json"))["total"] == len(captioned.shards)
    few = json.loads(told(capsys, captioned, "--count", "1", "--json"))
    assert (len(few["windows"]), few["total"]) == (1, captioned.tables.read(CAPTIONS).num_rows)


def test_texts_are_those_of_the_captions_that_others_are_made_from(captioned, capsys, monkeypatch):
    choice = {"variants": {"captions": ["b"]}, "reads": {"training_dataset": {"captions": "captions_b"}}}
    graph = with_variants(VIDEO, GraphChoice.model_validate(choice))
    monkeypatch.setattr("curate_assets.graphs.GRAPH", graph)
    shard = captioned.shards[0]
    rows = captioned.tables.read(CAPTIONS, shard).to_pylist()
    said = pa.Table.from_pylist([row | {"text": "By another model."} for row in rows], schema=CAPTIONS.rows_schema)
    captioned.tables.swap(graph.tables["captions_b"], shard, said)
    windows = json.loads(told(capsys, captioned, "--json"))["windows"]
    assert [each["texts"] for each in windows] == [{"captions": "By another model."}] * len(rows)


def test_the_ui_shows_pictures_over_texts_that_cannot_load_anything(captioned):
    preview = captions.ASSET.preview
    assert preview is not None
    markdown = preview(captioned.tables, captioned.shards[0])
    assert markdown is not None and markdown.count("![") == markdown.count("\n\n> No") == len(pictures(markdown))
    assert r"a \*bike\* \<b\>\& a\</b\> tree" in markdown
    assert 0 < len(markdown) < 100_000

"""Captions that are asked for again: a row with another window's text is found, by the command as it is used."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import pytest

from curate_assets.video.asked_again import AskedAgain, compared, counted
from curate_assets.video.assets.captions import CAPTIONS
from curate_cli.app import app


class _Describer(BaseHTTPRequestHandler):
    """Says twelve words of what it is shown, and one that is never the same."""

    asked: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        pictures = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        digest = hashlib.sha256(b"|".join(base64.b64decode(each.split(",")[1]) for each in pictures)).hexdigest()
        self.asked.append(digest)
        text = " ".join([digest[at : at + 4] for at in range(0, 48, 4)] + [f"no{len(self.asked)}"])
        answer = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def described(copy: Any) -> Iterator[Any]:
    """A root whose captions a server wrote, which still answers."""
    handler = type("Handler", (_Describer,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        captions = {"backend": "openai", "endpoint": f"http://127.0.0.1:{listening.server_port}/v1"}
        captions |= {"model": "describer", "revision": "r"}
        (copy.path / "curate.yaml").write_text(json.dumps({"captions": captions, "engine": {"kind": "in_process"}}))
        copy.run(frozenset({"captions"}), {"captions": captions})
        yield copy
        listening.shutdown()
        thread.join()


def told(capsys: Any, root: Any, *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        app(["verify", "captions", *arguments, "--root", str(root.path)])
    return end.value.code, capsys.readouterr().out


def verified(capsys: Any, root: Any, *arguments: str) -> tuple[int, Any]:
    code, said = told(capsys, root, *arguments, "--json")
    return code, json.loads(said)


def test_two_captions_that_were_exchanged_are_found_and_nothing_is_stored(described: Any, capsys: Any) -> None:
    before = described.contents()
    code, sound = verified(capsys, described, "--sample", "100")
    assert code == 0 and sound["counts"].keys() <= {"own", "cannot tell"} and sound["counts"]["own"] > 5
    assert len(sound["windows"]) == before["captions"].num_rows
    assert described.contents() == before

    own = [each for each in sound["windows"] if each["verdict"] == "own"]
    one, other = own[0], own[-1]
    places = {(each["clip_id"], each["start_frame"]): each["text"] for each in (one, other)}
    exchanged = dict(zip(places, reversed(places.values()), strict=True))
    for shard in described.shards:
        rows = described.tables.read(CAPTIONS, shard).to_pylist()
        for row in rows:
            row["text"] = exchanged.get((row["clip_id"], row["start_frame"]), row["text"])
        described.tables.swap(CAPTIONS, shard, pa.Table.from_pylist(rows, schema=CAPTIONS.rows_schema))
    code, mixed = verified(capsys, described, "--sample", "100")
    found = {(each["clip_id"], each["nearest"]) for each in mixed["windows"] if each["verdict"] == "another"}
    assert code == 1 and found == {(one["clip_id"], other["clip_id"]), (other["clip_id"], one["clip_id"])}

    code, said = told(capsys, described, "--sample", "100")
    assert code == 1 and "2 to another's" in said
    for each, mistaken in ((one, other), (other, one)):
        assert f"{each['clip_id']} from frame {each['start_frame']}: asked again, the answer is nearer to" in said
        assert f"the caption of {mistaken['clip_id']} (" in said

    code, some = verified(capsys, described, "--sample", "3", "--shard", described.shards[-1])
    assert {each["shard"] for each in some["windows"]} == {described.shards[-1]}
    assert len({each["clip_id"] for each in some["windows"]}) <= 3


def test_texts_that_are_alike_tell_nothing() -> None:
    alike = [AskedAgain("s", f"c{number}", 0, "A dog runs.", "A dog runs.") for number in range(4)]
    assert counted(compared(alike)) == {"cannot tell": 4}
    # Nor does a model that says something new every time, a single window, or one without an answer.
    fickle = [AskedAgain("s", f"c{number}", 0, f"word{number}", f"other{number}") for number in range(4)]
    assert counted(compared(fickle)) == {"cannot tell": 4}
    assert counted(compared(fickle[:1])) == {"cannot tell": 1}
    assert counted(compared([*alike, AskedAgain("s", "c9", 0, "A dog runs.", None, "busy")]))["no answer"] == 1

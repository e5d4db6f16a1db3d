"""A stage reads the very content that was hashed, or none: on a disk, in a bucket, from a server."""

import hashlib
import io
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage import object_stores
from curate_resources.storage.local_copies import hashed_copy, local_copy
from curate_resources.storage.root import Storage
from curate_resources.storage.stored_object import SourceChanged, StorageRefuses

OLD, NEW = b"a" * 100, b"b" * 100


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "videos" / "v.mp4"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def hashed(uri: str):
    with hashed_copy(uri) as (path, content):
        assert content.id == hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32]
        return content


def read(uri: str, content) -> bytes:
    with local_copy(uri, content) as path:
        return Path(path).read_bytes()


def in_place(path: Path) -> None:
    times = os.stat(path)
    path.write_bytes(NEW)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def renamed_over(path: Path) -> None:
    other = path.with_name("other.mp4")
    other.write_bytes(NEW)
    shutil.copystat(path, other)
    os.replace(other, path)


def by_link(path: Path) -> None:
    (path.parent.parent / "elsewhere.mp4").write_bytes(NEW)
    shutil.copystat(path, path.parent.parent / "elsewhere.mp4")
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere.mp4")


@pytest.mark.parametrize("replace", [in_place, renamed_over, by_link])
def test_a_replaced_file_is_refused_and_added_anew_though_size_and_time_are_the_same(video, tmp_path, replace):
    manifests = Manifests(Storage(str(tmp_path / "root")))
    add_units(manifests, str(video.parent), "v", 10, 1 << 30, VIDEO_FILES)
    content = hashed(str(video))
    before = os.stat(video)
    replace(video)
    assert (os.stat(video).st_size, os.stat(video).st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(SourceChanged, match=r"v\.mp4 changed since it was probed: `curate add` it again"):
        read(str(video), content)
    assert add_units(manifests, str(video.parent), "v", 10, 1 << 30, VIDEO_FILES).changed_files == 1
    assert read(str(video), hashed(str(video))) == NEW


def test_what_was_only_touched_or_put_back_is_read(video):
    content = hashed(str(video))
    os.utime(video, ns=(1, 1))
    os.chmod(video, 0o600)
    assert read(str(video), content) == OLD
    video.write_bytes(NEW)
    video.write_bytes(OLD)
    assert read(str(video), content) == OLD


def test_a_change_while_it_is_read_is_told_of_even_where_reading_failed(video):
    content = hashed(str(video))
    with pytest.raises(SourceChanged), local_copy(str(video), content):
        in_place(video)
    content = hashed(str(video))
    with pytest.raises(SourceChanged), local_copy(str(video), content):
        video.write_bytes(OLD)
        raise ValueError("invalid data found")
    with pytest.raises(SourceChanged), hashed_copy(str(video)):
        in_place(video)
    content = hashed(str(video))
    with pytest.raises(FileNotFoundError, match="is gone"), local_copy(str(video), content):
        video.unlink()


def test_changes_within_one_tick_of_the_clock_are_seen(video):
    for number in range(20):
        content = hashed(str(video))
        video.write_bytes(bytes([number]) * 100)
        with pytest.raises(SourceChanged):
            read(str(video), content)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings = tmp_path / "storage.yaml"
    settings.write_text(yaml.safe_dump({"scratch": {"folder": str(tmp_path / "scratch"), "gib": 1}}))
    monkeypatch.setenv("CURATE_STORAGE", str(settings))
    return tmp_path / "scratch" / "curate-scratch"


def test_a_replaced_object_is_refused_and_its_copies_are_kept_apart(s3, scratch):
    uri = f"{s3.bucket('replaced')}/v.mp4"
    object_stores.write(uri, io.BytesIO(OLD))
    old = hashed(uri)
    object_stores.write(uri, io.BytesIO(NEW))
    with pytest.raises(SourceChanged, match="changed since it was probed"):
        read(uri, old)
    new = hashed(uri)
    assert read(uri, new) == NEW and len(list(scratch.glob("*.mp4"))) == 2
    object_stores.write(uri, io.BytesIO(OLD))
    assert read(uri, old) == OLD
    with pytest.raises(SourceChanged):
        read(uri, new)


def test_an_object_that_is_replaced_between_two_blocks_is_not_put_together(s3, scratch, monkeypatch):
    uri, whole = f"{s3.bucket('torn')}/v.mp4", object_stores.read_range
    object_stores.write(uri, io.BytesIO(bytes(9 << 20)))

    def replacing(uri: str, start: int, length: int, version: str | None = None) -> bytes:
        if start:
            object_stores.write(uri, io.BytesIO(b"1" * (9 << 20)))
        return whole(uri, start, length, version)

    monkeypatch.setattr("curate_resources.storage.scratch.read_range", replacing)
    with pytest.raises(SourceChanged, match="changed while it was read"):
        hashed(uri)
    monkeypatch.undo()
    assert not list(Path(scratch).glob("*.complete"))


class Server:
    """One file; `headers` are what tells its versions apart. `refuses`: a status that it answers instead."""

    def __init__(self) -> None:
        self.data, self.headers, self.refuses, self.asked, served = OLD, dict[str, str](), 0, 0, self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                served.asked += 1
                if served.refuses:
                    self.send_error(served.refuses)
                    return
                first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
                body = served.data[first : last + 1]
                self.send_response(206)
                for name, value in served.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(served.data)}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v.mp4"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.mark.parametrize("kind", ["etag", "weak", "just changed", "nothing"])
def test_a_replaced_file_of_a_server_is_refused_whatever_the_server_tells(server, scratch, kind):
    headers = {"etag": {"ETag": '"1"'}, "weak": {"ETag": 'W/"1"'}, "nothing": {}}
    server.headers = headers.get(kind, {"Last-Modified": BaseHTTPRequestHandler.date_time_string(None)})  # pyright: ignore[reportArgumentType]
    old = hashed(f"{server.url}?signature=1")
    server.data = NEW
    if kind == "etag":
        server.headers = {"ETag": '"2"'}
    with pytest.raises(SourceChanged, match=r"/v\.mp4 changed"):
        read(f"{server.url}?signature=2", old)
    new = hashed(server.url)
    assert new.id != old.id and read(server.url, new) == NEW
    server.data, server.headers = OLD, headers.get(kind, server.headers)
    assert read(server.url, old) == OLD


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_a_server_refuses_is_asked_for_once(server, scratch, status):
    server.refuses = status
    with pytest.raises(StorageRefuses, match=rf"/v\.mp4: the server answers {status}"):
        object_stores.read_range(server.url, 0, 3)
    assert server.asked == 1

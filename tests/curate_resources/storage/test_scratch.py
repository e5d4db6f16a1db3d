"""Copies of remote files: fetched once, within the budget of a machine, whole whatever dies."""

import errno
import io
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curate_resources.pipeline.operating_errors import operating_error
from curate_resources.sources.listing import ROOT, LeftOut, listed_in
from curate_resources.storage import object_stores
from curate_resources.storage.object_stores import stat
from curate_resources.storage.scratch import Scratch, ScratchTooSmall

MB = 1_000_000


@pytest.fixture
def videos(s3, request):
    """Three objects of 10 MB in a bucket of the test's own."""
    bucket = s3.bucket(f"scratch-{abs(hash(request.node.name)) % 10**8}")
    contents = {f"{bucket}/{number}.mp4": random.Random(number).randbytes(10 * MB) for number in range(3)}
    for uri, content in contents.items():
        object_stores.write(uri, io.BytesIO(content))
    s3.proxy.behave()
    return contents


def test_many_readers_fetch_a_file_once(s3, videos, tmp_path):
    uri, scratch = next(iter(videos)), Scratch(tmp_path / "scratch", 25 * MB)

    def read(_: int) -> bytes:
        with scratch.copy(uri, stat(uri)) as path:
            assert path.endswith(".mp4")
            return Path(path).read_bytes()

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(read, range(12))) == {videos[uri]}
    assert s3.proxy.requests["GET"] == 2  # blocks of 8 MiB


def test_the_budget_holds_and_what_nobody_reads_makes_room(videos, tmp_path):
    scratch = Scratch(tmp_path / "scratch", 25 * MB)
    most, held, over = 0, threading.Semaphore(0), threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, sum(path.stat().st_size for path in (tmp_path / "scratch").glob("*.mp4")))
            time.sleep(0.005)

    def hold(uri: str) -> bool:
        with scratch.copy(uri, stat(uri)) as path:
            held.release()
            time.sleep(0.5)
            return Path(path).read_bytes() == videos[uri]

    (tmp_path / "scratch").mkdir()
    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(hold, [*videos, *videos]))
    over.set()
    watcher.join()
    assert 20 * MB <= most <= 25 * MB


def test_what_a_killed_process_began_is_finished_by_the_next(s3, videos, tmp_path):
    uri, folder = next(iter(videos)), tmp_path / "scratch"
    s3.proxy.share, s3.proxy.faults = 1.0, ("slow",)
    script = (
        "import sys; from pathlib import Path; from curate_resources.storage.scratch import Scratch\n"
        "from curate_resources.storage.object_stores import stat\n"
        f"with Scratch(Path(sys.argv[1]), {25 * MB}).copy({uri!r}, stat({uri!r})): print('fetched')"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    while not list(folder.glob("*.mp4")):
        time.sleep(0.01)
    process.kill()
    assert process.communicate()[0] == b""
    with Scratch(folder, 25 * MB).copy(uri, stat(uri)) as path:
        assert Path(path).read_bytes() == videos[uri]


def test_a_changed_object_is_fetched_again(videos, tmp_path):
    uri, scratch = next(iter(videos)), Scratch(tmp_path / "scratch", 25 * MB)
    with scratch.copy(uri, stat(uri)):
        object_stores.write(uri, io.BytesIO(b"changed"))
        with scratch.copy(uri, stat(uri)) as path:
            assert Path(path).read_bytes() == b"changed"


def test_files_of_others_in_the_folder_of_the_settings_stay_and_copies_are_no_sources(videos, tmp_path, monkeypatch):
    (tmp_path / "storage.yaml").write_text(f"scratch: {{folder: {tmp_path / 'shared'}, gib: {25 * MB / (1 << 30)}}}")
    monkeypatch.setenv("CURATE_STORAGE", str(tmp_path / "storage.yaml"))
    (tmp_path / "shared" / "folder").mkdir(parents=True)
    (tmp_path / "shared" / "precious.mp4").write_bytes(bytes(25 * MB))
    scratch = Scratch.of_this_machine()
    for uri, content in videos.items():
        (scratch.folder / "notes").mkdir(parents=True, exist_ok=True)
        with scratch.copy(uri, stat(uri)) as path:
            assert Path(path).read_bytes() == content
    found = list(listed_in(str(tmp_path / "shared")))
    assert LeftOut(str(scratch.folder), ROOT) in found
    assert [each.path for each in found if not isinstance(each, LeftOut)] == [f"{tmp_path}/shared/precious.mp4"]


def test_a_copy_that_somebody_removed_is_fetched_again(videos, tmp_path):
    uri, scratch = next(iter(videos)), Scratch(tmp_path, 25 * MB)
    with scratch.copy(uri, stat(uri)) as path:
        Path(path).unlink()
    with scratch.copy(uri, stat(uri)) as path:
        assert Path(path).read_bytes() == videos[uri]


def test_a_disk_that_takes_less_than_it_was_given_is_given_the_rest(videos, tmp_path, monkeypatch):
    uri, write = next(iter(videos)), os.pwrite
    monkeypatch.setattr("os.pwrite", lambda file, data, at: write(file, data[:MB], at))
    with Scratch(tmp_path, 25 * MB).copy(uri, stat(uri)) as path:
        assert Path(path).read_bytes() == videos[uri]


def test_a_full_disk_is_named(videos, tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(OSError) as raised, Scratch(tmp_path, 25 * MB).copy(uri := next(iter(videos)), stat(uri)):
        raise AssertionError
    assert str(operating_error(raised.value)).startswith(f"{tmp_path}/") and not list(tmp_path.glob("*.complete"))


def test_what_can_never_fit_is_an_error_that_says_what_to_raise(videos, tmp_path):
    small = Scratch(tmp_path, 5 * MB)
    with (
        pytest.raises(ScratchTooSmall, match=r"0\.mp4 has 0\.01 GiB.*raise scratch\.gib"),
        small.copy(uri := next(iter(videos)), stat(uri)),
    ):
        raise AssertionError

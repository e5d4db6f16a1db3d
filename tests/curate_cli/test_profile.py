"""`curate profile`: what lies under a root, and how it is shown."""

import json
import threading
import urllib.request
from pathlib import Path

import memray
import pytest

from curate_assets.video.video_files import VIDEO_FILES
from curate_cli.commands.profile import list_profiles, open_profile
from curate_resources.sources.adding import add_units
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage
from gpu_kernels.errors import UserError


@pytest.fixture
def root(tmp_path) -> str:
    """With a run that was profiled in two processes, and an older one."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"x")
    storage = Storage(str(tmp_path / "root"))
    add_units(Manifests(storage), str(tmp_path / "videos"), "a", 10, 1 << 30, VIDEO_FILES)
    storage.write("profiles/older/scan-host-1-1.html", b"<html>older</html>")
    for process in (1, 2):
        trace = {"traceEvents": [{"ph": "X", "name": "scan", "pid": process}]}
        storage.write(f"profiles/newer/scan-host-{process}-1.trace.json", json.dumps(trace).encode())
    with memray.Tracker(tmp_path / "memory"):
        held = [bytearray(1 << 20) for _ in range(4)]
    assert held
    storage.write("profiles/newer/stages-host-1-2.memray", (tmp_path / "memory").read_bytes())
    return storage.root


def shown(capsys) -> Path:
    return Path(capsys.readouterr().out.strip().splitlines()[-1])


def test_the_last_profile_is_shown_unless_another_is_chosen(root, capsys):
    list_profiles(root, as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["older", "newer"] and len(listed["newer"]) == 3
    open_profile(None, None, None, browser=False, root=root)
    assert "memray" in shown(capsys).read_text(), "of several kinds the first: memory, as a page"
    open_profile("older", None, None, browser=False, root=root)
    assert shown(capsys).read_text() == "<html>older</html>"
    with pytest.raises(UserError, match="run newer has no profile gpu; it has scan-host-1-1"):
        open_profile("newer", "gpu", None, browser=False, root=root)
    with pytest.raises(UserError, match="run unknown was not profiled"):
        open_profile("unknown", None, None, browser=False, root=root)


def test_the_viewer_gets_the_events_of_all_processes_as_one_trace(root, monkeypatch):
    got: list[tuple[str | None, bytes]] = []

    def browse(url: str) -> None:
        assert url.startswith("https://ui.perfetto.dev/#!/?url=http://127.0.0.1:9001/")

        def fetch() -> None:
            with urllib.request.urlopen(url.partition("url=")[2], timeout=10) as answer:
                got.append((answer.headers["Access-Control-Allow-Origin"], answer.read()))

        threading.Thread(target=fetch).start()

    monkeypatch.setattr("webbrowser.open", browse)
    open_profile(None, "events", None, browser=True, root=root)
    for thread in threading.enumerate():
        if thread.name.endswith("(fetch)"):
            thread.join(10)
    ((allowed, trace),) = got
    assert allowed == "https://ui.perfetto.dev"
    assert [event["pid"] for event in json.loads(trace)["traceEvents"]] == [1, 2]

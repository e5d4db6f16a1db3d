"""What is shown while plans run, of the events that they tell."""

import time

from curate_cli.printing import messages_to
from curate_cli.progress import live_progress
from curate_resources.pipeline.events import UnitDone, emit
from curate_resources.pipeline.run import announce

PLAN = "probe > scan > select"


class Terminal:
    """As wide as the COLUMNS of the environment say."""

    def __init__(self):
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def through(shard: str, done: int, total: int, failed: int) -> None:
    emit(UnitDone(PLAN, shard, f"{shard}/{done}.mp4", done, total, "videos", failed=failed, media_seconds=90.0))


def test_throughput_failures_and_the_time_left_are_shown_of_the_whole_plan(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    with messages_to(terminal), live_progress(quiet=False):
        announce(PLAN, {"a-000000": 2, "b-000000": 8}, "videos")
        time.sleep(0.2)
        assert "0/10 videos" in terminal.text and "the first video is under way, 0 failed" in terminal.text
        through("a-000000", 1, 2, failed=0)
        through("a-000000", 2, 2, failed=3)
        time.sleep(0.2)
    shown = terminal.text[terminal.text.rindex("probe to select") :]
    assert "2/10 videos" in shown
    for part in ("videos/s, ", " h of video per hour, ", " left, ", "3 failed"):
        assert part in shown

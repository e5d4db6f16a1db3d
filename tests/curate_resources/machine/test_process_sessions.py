"""What a process started ends with it, also what does not want to."""

import subprocess
import time

from curate_resources.machine.process_sessions import end_session, members


def test_a_session_ends_with_all_that_it_started():
    script = "(trap '' TERM; while true; do sleep 0.1; done) & sleep 60 & echo ready; wait"
    leader = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    assert leader.stdout is not None and leader.stdout.readline() == b"ready\n"
    assert leader.pid in members(leader.pid) and len(members(leader.pid)) >= 3
    end_session(leader.pid, patience=0.5)
    deadline = time.monotonic() + 5
    while members(leader.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(leader.pid) == []

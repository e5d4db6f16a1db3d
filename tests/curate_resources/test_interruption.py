"""Signals that a library swallows are sent again."""

import signal
import subprocess
import sys

import pytest

_SWALLOWS_THE_FIRST = """
import sys, time
from curate_resources import interruption

interruption.watch()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pass  # as a library does
try:
    time.sleep(60)
except KeyboardInterrupt:
    interruption.notice()
    time.sleep(2.5)  # what comes after is cleaning up, and is not interrupted again
    sys.exit(7 if interruption.asked() else 8)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_arrives_until_it_is_noticed(number):
    process = subprocess.Popen([sys.executable, "-c", _SWALLOWS_THE_FIRST], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    assert process.wait(timeout=30) == 7

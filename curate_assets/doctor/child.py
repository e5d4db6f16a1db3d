"""A Python of its own for what may crash or change its process: importing native libraries, asking Ray."""

import os
import subprocess
import sys
from collections.abc import Mapping


class ChildFailed(Exception):
    """The child ended badly; the message is its last line."""


def child_says(*arguments: str, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """What this Python prints when it is called with `arguments`.

    Raises:
        ChildFailed: it did not end well, or not in time.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"no answer within {seconds:g} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit {done.returncode}"]
        raise ChildFailed(said[-1])
    return done.stdout.strip()

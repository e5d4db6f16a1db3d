"""The command line's log: what libraries say, and the traceback of every error."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from curate_cli.printing import escaped, messages
from curate_resources.machine.state_folder import state_folder
from curate_resources.telemetry.json_logs import VARIABLE, JsonLines

_MOST_BYTES = 10 << 20
"""A longer log is put aside as `curate.log.1` when the next command begins."""

_path: Path | None = None


def bug_report(message: str) -> str:
    """What is said of a bug, whose traceback was written to standard error."""
    where = f"its traceback is in {_path}" if _path else "its traceback is above"
    return f"this is a bug in curate, please report it: {message}\n{where}"


@contextmanager
def noise_to_log() -> Generator[tuple[Path, IO[str]] | None, None, None]:
    """Point file descriptor 2 at the log for a while, where native libraries and child processes write what they like.

    Yields the log's path, and the terminal that the descriptor pointed at; None where no log can be written, and all
    stays as it is.
    """
    log = _opened()
    if log is None:
        yield None
        return
    global _path
    path, file = log
    sys.stderr.flush()
    own = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    terminal = own if _is_descriptor_2(sys.stderr) else sys.stderr
    try:
        _path = path
        with file:
            file.write(
                f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {' '.join(sys.argv)}\n".encode(
                    errors="backslashreplace"
                )
            )
            os.dup2(file.fileno(), 2)
        yield path, terminal
    finally:
        _path = None
        sys.stderr.flush()
        own.flush()
        os.dup2(own.fileno(), 2)
        own.close()


def _is_descriptor_2(stream: IO[str]) -> bool:
    try:
        return stream.fileno() == 2
    except OSError:
        return False


def _opened() -> tuple[Path, IO[bytes]] | None:
    """The first log that can be written to: in this user's state folder, else a file of its own."""
    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "curate.log"
        if path.exists() and path.stat().st_size > _MOST_BYTES:
            path.replace(folder / "curate.log.1")
        return path, path.open("ab", buffering=0)
    except OSError:
        pass
    try:
        descriptor, name = tempfile.mkstemp(prefix="curate-", suffix=".log")
    except OSError:
        return None
    return Path(name), os.fdopen(descriptor, "ab", buffering=0)


@contextmanager
def own_logs() -> Generator[None, None, None]:
    """What our own modules log goes to `sys.stderr`, and warnings also to the terminal, except those of engines: they
    are about single files, and the tables have them."""
    logger = logging.getLogger("curate")
    notes = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    notes.setFormatter(JsonLines() if os.environ.get(VARIABLE) == "json" else text)
    level, handlers = logger.level, (notes, _Warnings(logging.WARNING))
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)


class _Warnings(logging.Handler):
    _of_engines = frozenset({"curate.engine", "curate.stages", "curate.progress", "curate.events"})

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in self._of_engines:
            messages().print(f"[yellow]warning:[/yellow] {escaped(record.getMessage())}")

"""What the commands' output has in common: safe text for people, one JSON document for programs."""

import json
import sys
import webbrowser
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape as _escape

_NO_WRAP = 1 << 16
"""Columns of what is no terminal: whatever reads it wants every line whole."""

_terminal: IO[str] | None = None


def results(quiet: bool = False) -> Console:
    """Where a command's results go: standard output. Only a terminal has an edge to wrap lines at."""
    return Console(highlight=False, quiet=quiet, width=None if sys.stdout.isatty() else _NO_WRAP)


def messages(quiet: bool = False) -> Console:
    """Where errors, warnings and progress go: standard error as the command was given it."""
    file = _terminal or sys.stderr
    return Console(file=file, highlight=False, quiet=quiet, width=None if file.isatty() else _NO_WRAP)


@contextmanager
def messages_to(terminal: IO[str]) -> Generator[None, None, None]:
    """For a while, messages go there instead of to `sys.stderr`."""
    global _terminal
    before, _terminal = _terminal, terminal
    try:
        yield
    finally:
        _terminal = before


def escaped(text: str) -> str:
    """Text in which square brackets are no markup, and control characters are shown instead of sent."""
    return _escape("".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text))


def duration(seconds: float) -> str:
    """As people say it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def print_document(value: Any) -> None:
    """One JSON document for a program."""
    print(json.dumps(value, indent=1, default=str, ensure_ascii=False))


def print_nothing(why: str, as_json: bool) -> None:
    """Why there was nothing to do."""
    if as_json:
        print_document([])
        return
    results().print(why)


def open_page(uri: str) -> None:
    """Show a page in a browser, where it is on this machine."""
    from curate_resources.storage.root import is_local, local_path

    if is_local(uri):
        webbrowser.open(Path(local_path(uri)).as_uri())

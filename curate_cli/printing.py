"""What the commands' output has in common: safe text for people, one JSON document for programs."""

import json
import webbrowser
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape as _escape


def escaped(text: str) -> str:
    """Text in which square brackets are no markup, and control characters are shown instead of sent."""
    return _escape("".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text))


def print_document(value: Any) -> None:
    """One JSON document for a program."""
    print(json.dumps(value, indent=1, default=str, ensure_ascii=False))


def print_nothing(why: str, as_json: bool) -> None:
    """Why there was nothing to do."""
    if as_json:
        print_document([])
        return
    Console(highlight=False).print(why)


def open_page(uri: str) -> None:
    """Show a page in a browser, where it is on this machine."""
    from curate_resources.storage import is_local, local_path

    if is_local(uri):
        webbrowser.open(Path(local_path(uri)).as_uri())

"""`curate docs`: the documentation of this version, which is installed with it."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from curate_cli.command import OK
from curate_resources.suggestions import did_you_mean
from gpu_kernels.errors import NotThere

_FOLDER = Path(__file__).parents[1] / "docs"


def docs(
    page: Annotated[str | None, typer.Argument(help="Such as user-guide. Default: lists the pages.")] = None,
) -> int:
    """Show a page of the documentation: as text on a terminal, as Markdown into a file or a pipe."""
    pages = {path.stem: path for path in sorted(_FOLDER.glob("*.md"))}
    if page is None:
        for name, path in pages.items():
            print(f"curate docs {name:18} {path.read_text().splitlines()[0].lstrip('# ')}")
        return OK
    if page not in pages:
        meant = did_you_mean(page, pages) or f": the pages are {', '.join(pages)}"
        raise NotThere(f"there is no page {page!r}{meant}")
    text = pages[page].read_text()
    if not sys.stdout.isatty():
        print(text, end="")
        return OK
    console = Console()
    with console.pager(styles=True):
        console.print(Markdown(text))
    return OK

"""Writes the generated pages, or with `--check` says which of them are not what the code gives."""

import argparse
import re
import sys
from pathlib import Path

from curate_assets.docs_pages.assets import assets_page
from curate_assets.docs_pages.configuration import configuration_page
from curate_assets.docs_pages.diagram import graph_diagram
from curate_assets.docs_pages.metrics import with_metrics
from curate_assets.docs_pages.presets import presets_page
from curate_assets.orchestration.asset_graph import defs

_README = Path(__file__).parents[2] / "README.md"
_OBSERVABILITY = _README.with_name("docs") / "observability.md"
_DIAGRAM = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, str]:
    """Content of every generated page by its path in the repository."""
    graph = defs.resolve_asset_graph()
    return {
        "docs/configuration.md": configuration_page(),
        "docs/assets.md": assets_page(graph),
        "docs/presets.md": presets_page(),
        "docs/observability.md": with_metrics(_OBSERVABILITY.read_text()),
        "README.md": _DIAGRAM.sub(lambda _: graph_diagram(graph), _README.read_text(), count=1),
    }


def main() -> int:
    """Exit code: 0, or 1 when a page is not current."""
    parser = argparse.ArgumentParser(prog="python -m curate_assets.docs_pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, and fail when a page is not current")
    check = parser.parse_args().check
    stale = [
        (path, text) for path, text in pages().items() if not (file := Path(path)).exists() or file.read_text() != text
    ]
    for path, text in stale:
        if not check:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text)
        print(f"{path}: {'not current: run python -m curate_assets.docs_pages' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

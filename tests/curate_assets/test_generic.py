"""What runs any graph names no asset of the video graph, and the engine's packages speak of no videos."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from curate_assets.video import VIDEO

REPOSITORY = Path(__file__).resolve().parents[2]
ASSET = re.compile(rf"\b(?:{'|'.join(asset.name for asset in VIDEO.assets)})\b", re.IGNORECASE)
OF_VIDEOS = re.compile(r"video|clip|frame", re.IGNORECASE)


def code(path: Path) -> Iterator[tuple[int, str]]:
    """The tokens of a module that are neither comments nor docstrings, with their lines."""
    text = path.read_text()
    documented = {
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT and token.start[0] not in documented:
            yield token.start[0], token.string


def named(pattern: re.Pattern[str], *packages: str, apart: str = " ") -> dict[str, list[str]]:
    """By module, what of a pattern its code has."""
    found: dict[str, list[str]] = {}
    for package in packages:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            module = path.relative_to(REPOSITORY).as_posix()
            if module.startswith(apart):
                continue
            hits = sorted({match for _, text in code(path) for match in pattern.findall(text)})
            if hits:
                found[module] = hits
    return found


EXAMPLES = {"clips", "captions"}
"""Assets that messages and the help take for examples of one; the words are ordinary English, too."""

OF_ASSETS = {
    "curate_assets/graph/contact_sheet.py": {"storyboards"},  # decodes their JPEGs with a module of that name
    "curate_cli/commands/calibrate.py": {"clip_selection"},  # for roots of videos only, as the next ones
    "curate_cli/commands/captions.py": {"Captions"},
    "curate_cli/commands/demo.py": {
        *("audio_signals", "borders", "camera_motion", "clip_labels", "clip_selection", "dataset_report"),
        *("duplicate_groups", "faces", "ocr_words", "persistent_graphics", "safety_scores", "source_videos"),
        *("speech", "stillness", "technical_quality", "text_overlays"),
    },
    "curate_cli/commands/duplicates.py": {"DUPLICATE_GROUPS", "duplicate_groups", "duplicate_pairs"},
    "curate_cli/commands/export.py": {"TRAINING_DATASET", "training_dataset"},
    "curate_cli/commands/report.py": {"DATASET_REPORT", "dataset_report"},
    "curate_cli/commands/search.py": {"borders", "clip_embeddings", "speech"},
    "curate_cli/commands/select.py": {"clip_selection"},
    "curate_cli/commands/sample.py": {"Clips", "clip_embeddings", "clip_selection"},
    "curate_cli/commands/semdedup.py": {"clip_embeddings"},
    "curate_cli/commands/verify.py": {"refined_captions", "enhanced_captions"},
    "curate_cli/labelling.py": {"clip_selection"},
}
IN_THE_ENGINE = {
    "curate_resources/engines/interruption.py": {"Frame", "frame"},  # of Python's stack
    "curate_resources/sources/declared.py": {"video"},  # the old name of a key, which is still read
}


def test_what_runs_any_graph_names_no_asset_of_the_video_graph() -> None:
    found = named(ASSET, "curate_assets", "curate_resources", "curate_cli", apart="curate_assets/video/")
    assert {module: rest for module, hits in found.items() if (rest := set(hits) - EXAMPLES)} == OF_ASSETS


def test_the_engine_speaks_of_no_videos() -> None:
    assert {module: set(hits) for module, hits in named(OF_VIDEOS, "curate_resources").items()} == IN_THE_ENGINE

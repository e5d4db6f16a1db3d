"""Rewritten captions: what is asked, when it is asked again, and who carries the outcome."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import pytest

from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.enhanced_captions import ENHANCED_CAPTIONS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.graph import VIDEO
from gpu_kernels.backends import Backends
from gpu_kernels.captioners.texts import EnhancedCaptionsConfig
from gpu_kernels.captioners.types import Caption, CaptionRequest, prompt_hash

TEXTS = {"a": ["A dog.", "A cat."], "b": ["Rain.", None]}


class Writer:
    """Writes what it was told, louder."""

    model, revision = "writer", "1"

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        assert window.text_only and window.prompt is not None and not window.frames
        instruction, _, text = window.prompt.partition("\n\n")
        self.asked.append(text)
        if text == "Rain.":
            return Caption(None, "blocked", "no weather")
        return Caption(f"{instruction}: {text.upper()}", "success", None, 5, 7)


class WriterConfig(EnhancedCaptionsConfig):
    """Rewrites without a model."""

    asked: ClassVar[list[str]] = []
    backend: Literal["writer"] = "writer"
    version: str = "1"

    def identity(self) -> tuple[str, str]:
        return "writer", self.version

    def load(self) -> Writer:
        return Writer(self.asked)


WRITERS = Backends(EnhancedCaptionsConfig, [WriterConfig], "no.such.group")
GRAPH = replace(
    VIDEO,
    listed=tuple(replace(each, section=WRITERS) if each.name == "enhanced_captions" else each for each in VIDEO.listed),
)


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    WriterConfig.asked.clear()
    made = TemporaryRoot(tmp_path)
    made.add("s", [f"/videos/{name}.mp4" for name in TEXTS])
    made.store(SOURCE_VIDEOS, "s", [{"uri": f"/videos/{name}.mp4", "video_id": name} for name in TEXTS])
    store(made)
    return made


def store(root: TemporaryRoot, **changed: str) -> None:
    rows: list[dict[str, Any]] = []
    for name, texts in TEXTS.items():
        for window, text in enumerate(texts):
            text = changed.get(f"{name}{window}", text)
            key = {"video_id": name, "clip_id": f"{name}-0", "window": window, "start_frame": 256 * window}
            said = {"text": text, "text_digest": text_digest(text), "status": "empty" if text is None else "ok"}
            rows.append(key | said | {"end_frame": 256 * (window + 1), "fingerprint": name})
    root.store(CAPTIONS, "s", rows)


def enhanced(root: TemporaryRoot, **settings: Any) -> list[str]:
    """What was asked for."""
    WriterConfig.asked.clear()
    root.materialize(GRAPH, ENHANCED_CAPTIONS.name, settings={"enhanced_captions": {"prompt": "Loud"} | settings})
    return sorted(WriterConfig.asked)


def test_a_caption_is_rewritten_and_its_row_says_by_whom_and_at_what_cost(root: TemporaryRoot) -> None:
    assert enhanced(root) == ["A cat.", "A dog.", "Rain."]
    rows = {f"{row['video_id']}{row['window']}": row for row in root.rows(ENHANCED_CAPTIONS)}
    assert rows.keys() == {"a0", "a1", "b0"}
    assert {key: row["text"] for key, row in rows.items()} == {"a0": "Loud: A DOG.", "a1": "Loud: A CAT.", "b0": None}
    row = rows["a1"]
    assert (row["start_frame"], row["end_frame"], row["status"], row["caption_status"]) == (256, 512, "ok", "success")
    assert (row["model"], row["model_revision"], row["made_from"]) == ("writer", "1", "captions")
    assert row["prompt_hash"] == prompt_hash(WriterConfig(prompt="Loud"))
    assert (row["prompt_tokens"], row["output_tokens"]) == (5, 7) and 0 <= row["seconds"] < 5
    blocked = rows["b0"]
    assert (blocked["status"], blocked["caption_status"]) == ("empty", "blocked")
    assert (blocked["error"]["type"], blocked["error"]["message"]) == ("CaptionBlocked", "no weather")


def test_only_what_changed_is_asked_again(root: TemporaryRoot) -> None:
    enhanced(root)
    assert enhanced(root) == []
    store(root, a1="A bird.")  # of a captioner that was asked again: its fingerprint is the same
    assert enhanced(root) == ["A bird."]
    everything = ["A bird.", "A dog.", "Rain."]
    assert enhanced(root, prompt="Louder") == everything
    assert enhanced(root, prompt="Louder", version="2") == everything
    assert enhanced(root, prompt="Louder", version="2", max_tokens=99) == everything
    assert enhanced(root, prompt="Louder", version="2", max_tokens=99) == []


def test_without_a_backend_it_costs_nothing(root: TemporaryRoot) -> None:
    enhanced(root)
    root.materialize(VIDEO, ENHANCED_CAPTIONS.name)
    assert root.rows(ENHANCED_CAPTIONS) == []
    plan = VIDEO.plan({ENHANCED_CAPTIONS.name}, validated({}), str(root.folder))
    assert not plan.heavy


@pytest.mark.deep
def test_models_caption_refine_and_rewrite_footage_in_one_run(
    copy: Any, tiny_models: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("models")
    seer = {"backend": "transformers", "model": str(tiny_models.tiny_qwen2_5_vl(folder / "seer")), "device": "cpu"}
    writer = seer | {"model": str(tiny_models.tiny_qwen2(folder / "writer"))}
    short = {"max_tokens": 16}
    settings = {"captions": seer | short, "refined_captions": seer | short, "enhanced_captions": writer | short}
    wanted = frozenset({"captions", *settings, "caption_quality"})
    done = copy.run(wanted, settings)
    rows = {
        name: {(row["clip_id"], row["start_frame"]): row for row in table.to_pylist()}
        for name, table in copy.contents().items()
        if name in wanted
    }
    first = rows["captions"]
    assert first and all(row["status"] == "ok" for row in first.values())
    for name in ("refined_captions", "enhanced_captions"):
        assert rows[name].keys() == first.keys()
        assert all(row["status"] == "ok" and row["text"] and row["seconds"] > 0 for row in rows[name].values()), name
    assert all(row["text"] != first[key]["text"] for key, row in rows["refined_captions"].items())
    assert {row["made_from"] for row in rows["enhanced_captions"].values()} == {"refined_captions"}
    assert {row["stage"] for row in rows["caption_quality"].values()} == {"enhanced_captions"}
    assert sum(each.computed for each in done.values()) > 0
    assert sum(each.computed for each in copy.run(wanted, settings).values()) == 0

"""Captions refined with their frames in view; and which caption of a window counts, from the first to a record."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.variants import with_variants
from curate_assets.settings.resolve import validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.caption_quality import CAPTION_QUALITY
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.enhanced_captions import ENHANCED_CAPTIONS
from curate_assets.video.assets.refined_captions import REFINED_CAPTIONS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.assets.training_dataset import TrainingDatasetConfig
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.graph import VIDEO
from curate_assets.video.samples import samples_of
from gpu_kernels.backends import Backends
from gpu_kernels.captioners.refiner import RefinedCaptionsConfig
from gpu_kernels.captioners.texts import EnhancedCaptionsConfig
from gpu_kernels.captioners.types import AskedConfig, Caption, CaptionRequest

WINDOW = 64
FRAMES = 4
TEXTS = ("one", "two", "three")


class Echo:
    """Says what it was shown and what it was asked; about `broken` only on the second try."""

    model, revision = "echo", "1"

    def __init__(self, asked: list[str], prompt: str) -> None:
        self.asked, self.prompt = asked, prompt

    def caption(self, window: CaptionRequest, key: str = "") -> Caption:
        assert window.prompt is not None
        asked, _, text = window.prompt.partition("\n\n")
        assert asked == self.prompt
        self.asked.append(text)
        if text == "broken" and self.asked.count(text) == 1:
            return Caption(None, "error", "try again")
        seen = b"".join(window.frames).decode()
        return Caption(f"{asked} {text} {seen}".strip(), "success")


class _EchoSettings(AskedConfig):
    asked: ClassVar[list[str]]

    def identity(self) -> tuple[str, str]:
        return "echo", "1"

    def load(self) -> Echo:
        return Echo(self.asked, self.prompt)


class RefiningConfig(RefinedCaptionsConfig, _EchoSettings):
    """Refines without a model."""

    asked: ClassVar[list[str]] = []
    backend: Literal["echo"] = "echo"
    prompt: str = "Refined"


class RewritingConfig(EnhancedCaptionsConfig, _EchoSettings):
    """Rewrites without a model."""

    asked: ClassVar[list[str]] = []
    backend: Literal["echo"] = "echo"
    prompt: str = "Enhanced"


SECTIONS = {
    "refined_captions": Backends(RefinedCaptionsConfig, [RefiningConfig], "no.such.group"),
    "enhanced_captions": Backends(EnhancedCaptionsConfig, [RewritingConfig], "no.such.group"),
}
LISTED = {each.name: replace(each, section=SECTIONS.get(each.name, each.section)) for each in VIDEO.listed}
GRAPH = replace(VIDEO, listed=tuple(LISTED.values()))
CAPTIONED = {"captions": {"backend": "openai", "model": "m", "endpoint": "http://h/v1"}}


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    """A clip of three windows, with a storyboard of a text in place of each picture."""
    RefiningConfig.asked.clear()
    RewritingConfig.asked.clear()
    made = TemporaryRoot(tmp_path)
    made.add("s", ["/videos/v.mp4"])
    made.store(SOURCE_VIDEOS, "s", [{"uri": "/videos/v.mp4", "video_id": "v", "average_rate": 25.0}])
    key = {"video_id": "v", "clip_id": "v-0"}
    span = {"start_frame": 0, "end_frame": 3 * WINDOW, "start_ns": 0, "end_ns": 8 * 10**9}
    made.store(CLIPS, "s", [key | span])
    made.store(CLIP_SELECTION, "s", [key | {"selected": True}])
    made.store(DUPLICATE_GROUPS, "s", [key | {"keeper": True}])
    frames = range(0, 3 * WINDOW, WINDOW // FRAMES)
    pictures = [f"<{frame}>".encode() for frame in frames]
    (made.folder / "media").mkdir()
    (made.folder / "media" / "v").write_bytes(b"".join(pictures))
    board = [
        {"video_id": "v", "frame": frame, "pts_ns": frame * 10**7, "path": "media/v", "bytes": len(picture)}
        | {"offset": sum(map(len, pictures[:at]))}
        for at, (frame, picture) in enumerate(zip(frames, pictures, strict=True))
    ]
    made.store(STORYBOARDS, "s", board)
    file = {"bytes": 1, "sha256": "0", "width": 640, "height": 360, "frames": 192, "duration_ns": 8 * 10**9}
    made.store(CLIP_FILES, "s", [key | {"path": "media/v.mp4"} | file])
    store(made, *TEXTS)
    return made


def store(root: TemporaryRoot, *texts: str) -> None:
    rows = [
        {"video_id": "v", "clip_id": "v-0", "window": at, "start_frame": at * WINDOW, "end_frame": (at + 1) * WINDOW}
        | {"text": text, "text_digest": text_digest(text), "model": "first", "model_revision": "7", "fingerprint": "f"}
        for at, text in enumerate(texts)
    ]
    root.store(CAPTIONS, "s", rows)


def run(root: TemporaryRoot, *assets: str, **settings: Any) -> tuple[list[str], list[str]]:
    """What was asked of the two models."""
    RefiningConfig.asked.clear()
    RewritingConfig.asked.clear()
    root.materialize(GRAPH, *assets, settings=CAPTIONED | settings)
    return sorted(RefiningConfig.asked), sorted(RewritingConfig.asked)


def pictures(window: int) -> str:
    return "".join(f"<{frame}>" for frame in range(window * WINDOW, (window + 1) * WINDOW, WINDOW // FRAMES))


def captions(root: TemporaryRoot) -> list[dict[str, Any]]:
    ((sample,), _) = samples_of(root.tables, TrainingDatasetConfig())
    return sample.about["captions"]


def test_a_window_is_shown_again_with_its_caption(root: TemporaryRoot) -> None:
    assert run(root, "refined_captions") == (sorted(TEXTS), [])
    rows = root.rows(REFINED_CAPTIONS)
    assert [row["text"] for row in rows] == [f"Refined {text} {pictures(at)}" for at, text in enumerate(TEXTS)]
    assert [(row["window"], row["start_frame"], row["end_frame"]) for row in rows] == [
        (at, at * WINDOW, (at + 1) * WINDOW) for at in range(3)
    ]
    assert [row["source_digest"] for row in rows] == [*map(text_digest, TEXTS)]
    assert {(row["model"], row["model_revision"], row["frames"], row["status"]) for row in rows} == {
        ("echo", "1", FRAMES, "ok")
    }


def test_only_windows_whose_caption_or_settings_changed_or_that_failed_are_asked_again(root: TemporaryRoot) -> None:
    store(root, "one", "broken", "three")
    both = ("refined_captions", "enhanced_captions")
    refined = [f"Refined {text} {pictures(at)}" for at, text in enumerate(("one", "broken", "three"))]
    assert run(root, *both) == (["broken", "one", "three"], sorted([refined[0], "broken", refined[2]]))
    RefiningConfig.asked.clear()
    RefiningConfig.asked.append("broken")  # a second try
    root.materialize(GRAPH, *both, settings=CAPTIONED)
    assert RefiningConfig.asked == ["broken", "broken"]
    assert [row["text"] for row in root.rows(ENHANCED_CAPTIONS)] == [f"Enhanced {text}" for text in refined]
    assert run(root, *both) == ([], [])
    store(root, "one", "broken", "four")
    assert run(root, *both) == (["four"], [f"Refined four {pictures(2)}"])
    assert len(run(root, *both, enhanced_captions={"max_tokens": 99})[1]) == 3
    assert len(run(root, *both, enhanced_captions={"max_tokens": 99}, refined_captions={"max_frames": 4})[0]) == 3


def test_the_last_caption_that_there_is_counts_and_the_earlier_ones_are_kept(root: TemporaryRoot) -> None:
    first = [
        {"start_frame": at * WINDOW, "end_frame": (at + 1) * WINDOW, "text": text}
        | {"model": "first", "model_revision": "7"}
        for at, text in enumerate(TEXTS)
    ]
    assert captions(root) == first  # as they were before there were other stages
    root.materialize(VIDEO, "refined_captions", "enhanced_captions", settings=CAPTIONED)  # idle
    assert captions(root) == first

    run(root, "refined_captions")
    refined = [f"Refined {text} {pictures(at)}" for at, text in enumerate(TEXTS)]
    by = {"model": "echo", "model_revision": "1"}
    original = [{name: each[name] for name in ("text", "model", "model_revision")} for each in first]
    assert captions(root) == [
        each | {"text": text} | by | {"stage": "refined_captions", "earlier": {"captions": was}}
        for each, text, was in zip(first, refined, original, strict=True)
    ]

    run(root, "enhanced_captions", "caption_quality")
    assert [row["stage"] for row in root.rows(CAPTION_QUALITY)] == ["enhanced_captions"] * 3
    found = captions(root)
    assert [each["text"] for each in found] == [f"Enhanced {text}" for text in refined]
    assert found[1]["earlier"] == {"captions": original[1], "refined_captions": {"text": refined[1]} | by}
    assert all(isinstance(each["flags"], list) for each in found)


def test_a_text_that_was_made_from_another_caption_does_not_count(root: TemporaryRoot) -> None:
    """The first one was made again since, or is another variant's."""
    run(root, "refined_captions", "enhanced_captions", "caption_quality")
    store(root, "one", "two", "four")
    assert [each["text"].split()[0] for each in captions(root)] == ["Enhanced", "Enhanced", "four"]
    assert "stage" not in captions(root)[2] and "flags" not in captions(root)[2]
    run(root, "refined_captions")
    assert captions(root)[2]["text"] == f"Refined four {pictures(2)}"
    run(root, "enhanced_captions", "caption_quality")
    assert captions(root)[2]["text"] == f"Enhanced Refined four {pictures(2)}"


def test_a_variant_of_captions_is_refined_in_place_of_the_first() -> None:
    choice = GraphChoice(
        variants={"captions": ["detailed"], "refined_captions": ["again"]},
        reads={"refined_captions": {"captions": "captions_detailed"}},
    )
    graph = with_variants(VIDEO, choice)
    assert "captions_detailed" in graph.asset("refined_captions").reads
    # What is rewritten and judged are windows of the same captions.
    assert "captions_detailed" in graph.asset("enhanced_captions").reads
    config = graph.config_model("Settings", __name__).model_validate(
        {"refined_captions_again": {"backend": "openai", "model": "m", "endpoint": "http://h/v1"}}
    )
    idle = {stage.name: stage.is_idle(config) for stage in graph.stages}
    assert idle["refine"] and not idle["refine_again"]
    assert not VIDEO.plan({"refined_captions"}, validated({}), "/nowhere").heavy

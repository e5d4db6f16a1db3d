"""Models of a hub, on loopback: fetched whole and checked, or not at all."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gpu_kernels.embedders.clip_siglip import ClipConfig
from gpu_kernels.errors import CurateError, NotThere, OperatingError, UserError
from gpu_kernels.models.hub import fetch_from_hub
from gpu_kernels.models.store import ModelStore

NAME = "owner/clip"


@pytest.fixture
def clip(hub: Any, tiny_models: ModuleType) -> Path:
    """The folder of a tiny CLIP that the hub has, with what hubs have beside models."""
    folder = tiny_models.tiny_clip(hub.folder / NAME)
    (folder / "README.md").write_text("# A model\n")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04 a pickle")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.safetensors").write_bytes(b"other weights")
    return folder


def test_a_model_is_fetched_without_what_is_not_read_and_gives_what_its_folder_gives(hub: Any, clip: Path) -> None:
    model = fetch_from_hub(NAME, "main", ModelStore.here())
    assert (model.name, model.revision, model.source, model.licence) == (NAME, hub.commit(NAME), "hub", "apache-2.0")
    assert [file.path for file in model.files] == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert ModelStore.here().wrong(model) == []
    hub.requests.clear()
    frames = [np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)]
    embedder = ClipConfig(model=NAME, revision=model.revision, device="cpu").load()
    assert (embedder.name, embedder.revision) == (NAME, model.revision)
    assert np.array_equal(embedder.embed(frames), ClipConfig(model=str(clip), device="cpu").load().embed(frames))
    assert hub.requests == []


def test_nothing_is_fetched_when_a_model_is_loaded(hub: Any, clip: Path) -> None:
    with pytest.raises(NotThere, match=rf"`curate models download {NAME}`.*models\.fetch"):
        ClipConfig(model=NAME, revision=hub.commit(NAME), device="cpu").load()
    assert hub.requests == []


def refused(reason: str, kind: type[CurateError], revision: str | None = None) -> None:
    with pytest.raises(kind, match=reason):
        fetch_from_hub(NAME, revision, ModelStore.here())
    assert list(ModelStore.here().models()) == []
    assert [path.name for path in ModelStore.here().root.glob("*")] == []  # nothing half fetched either


def test_pickles_are_refused_whatever_they_are_called(hub: Any, clip: Path) -> None:
    (clip / "model.safetensors").write_bytes(b"\x80\x04 a pickle" * 2000)
    refused("model.safetensors of model owner/clip is not in the safetensors format", UserError)
    (clip / "model.safetensors").unlink()
    refused(r"pytorch_model.bin only: a pickle can run any code", UserError)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_bytes_that_changed_on_their_way_are_not_kept(hub: Any, clip: Path, file: str) -> None:
    hub.damaged.add(file)
    refused(f"{file} of model {NAME} came with digest", OperatingError)
    hub.damaged.clear()
    assert fetch_from_hub(NAME, None, ModelStore.here()).name == NAME


def test_what_a_hub_refuses_is_said_with_the_remedy(hub: Any, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("has model owner/clip, but not its revision", NotThere, "0" * 40)
    hub.gated.add(NAME)
    refused(f"accept its terms at {hub.url}/{NAME}, and set HF_TOKEN", UserError)
    hub.private.add(NAME)
    refused("no model owner/clip, or it is private", NotThere)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused("does not give model owner/clip.*--from` takes a folder or a bucket", OperatingError)


def test_a_file_that_changed_in_the_store_is_seen(hub: Any, clip: Path) -> None:
    store = ModelStore.here()
    model = fetch_from_hub(NAME, None, store)
    weights = store.folder(NAME, model.revision) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    assert store.wrong(model) == ["model.safetensors has another SHA-256 than when it was fetched"]
    weights.write_bytes(content[:-1])
    with pytest.raises(NotThere, match="damaged"):
        store.folder(NAME, model.revision)


def test_a_damaged_cache_of_the_hubs_client_is_not_believed(hub: Any, clip: Path) -> None:
    store = ModelStore.here()
    model = fetch_from_hub(NAME, None, store)
    folder = store.folder(NAME, model.revision)
    with (folder / "model.safetensors").open("r+b") as linked:  # the client's cache has the same file
        linked.seek(-1, 2)
        linked.write(b"x")
    assert fetch_from_hub(NAME, None, store) == model and store.wrong(model) == []

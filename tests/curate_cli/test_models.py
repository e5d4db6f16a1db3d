"""`curate models`, from a hub on loopback to a mirror and to another machine, and what `curate doctor` says of it."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from curate_assets.doctor.check import Deployment
from curate_assets.doctor.models import servers, weights
from curate_assets.settings.resolve import resolve_config
from curate_assets.video.assets.clip_embeddings import EMBED
from curate_cli.app import app
from curate_resources.engines.node_setup import prepared
from curate_resources.storage.root import Storage
from gpu_kernels.embedders.embedder import EMBEDDERS

NAME = "owner/clip"


@pytest.fixture
def curate(hub: Any, tiny_models: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`curate("models", ...)` gives the exit code and the document, under a root whose configuration names a model."""
    monkeypatch.setenv("CURATE_ROOT", str(tmp_path / "root"))
    tiny_models.tiny_clip(hub.folder / NAME)
    configure(tmp_path, hub)

    def run(*arguments: str) -> tuple[int, Any]:
        result = CliRunner().invoke(app, ["models", *arguments, "--json"])
        return result.exit_code, json.loads(result.stdout)

    return run


def configure(tmp_path: Path, hub: Any, **models: Any) -> None:
    embeddings = {"backend": "clip", "model": NAME, "revision": hub.commit(NAME), "device": "cpu"}
    settings = json.dumps({"clip_embeddings": embeddings, "models": models})
    Storage(str(tmp_path / "root")).write("curate.yaml", settings.encode())


def states(curate: Any) -> dict[str, str]:
    return {each["name"]: each["state"] for each in curate("list")[1] if each["state"] not in ("preset", "published")}


def test_from_the_hub_to_a_mirror_and_to_a_machine_without_network(
    curate: Any, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = (
        "transnetv2",
        "efficientnet_lite0",
        "pp_ocr_v6_detector",
        "pp_ocr_v6_recogniser",
        "yuface",
        "silero_vad",
        "open_nsfw",
        "nudenet",
        "whisper_tiny_en",
        "all_minilm_l6_v2",
    )
    packages = dict.fromkeys(shipped, "package")
    presets = [each["preset"] for each in curate("list")[1] if each["state"] == "preset"]
    assert [(each["gpus"], each["memory_gib"]) for each in presets if each["name"] == "qwen3_vl_235b"] == [(8, 437.7)]
    embedders = [each["embedder"] for each in curate("list")[1] if each["state"] == "published"]
    assert {each["backend"] for each in embedders} == {"clip", "siglip", "dinov3", "internvideo2", "cosmos_embed1"}
    assert all(EMBEDDERS.kinds[each["backend"]].knows_words == each["words"] for each in embedders)
    assert states(curate) == {**packages, NAME: "missing"}
    code, ((got),) = curate("download")
    assert (code, got["fetched"], got["model"]["revision"]) == (0, True, hub.commit(NAME))
    assert curate("download")[1][0]["fetched"] is False
    assert curate("download", NAME, "--again")[1][0]["fetched"] is True
    (listed,) = [each for each in curate("list")[1] if each["name"] == NAME]
    assert (listed["state"], listed["used_by"], listed["licence"]) == ("here", ["clip_embeddings"], "apache-2.0")
    assert {each["name"]: each["used_by"] for each in curate("list")[1]}["transnetv2"] == ["shot_signals"]
    code, checked = curate("verify")
    assert code == 0 and {each["name"]: each["wrong"] for each in checked} == {name: [] for name in (*packages, NAME)}

    mirror = str(tmp_path / "mirror")
    assert curate("upload", NAME)[0] == 2  # nobody said where to
    assert curate("upload", NAME, "--to", mirror)[1]["uploaded"] is True
    assert curate("upload", "transnetv2", "--to", mirror)[0] == 2

    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "another machine"))
    hub.requests.clear()
    configure(tmp_path, hub, mirror=mirror)
    assert states(curate) == {**packages, NAME: "mirror"}
    assert curate("download")[1][0]["fetched"] is True and states(curate)[NAME] == "here"
    assert hub.requests == []
    next(Path(tmp_path / "another machine").glob("*/*/model.safetensors")).write_bytes(b"damaged")
    code, checked = curate("verify", NAME)
    assert code == 1 and "another SHA-256" in checked[0]["wrong"][0]
    code, told = curate("verify", "no/such")
    assert code == 2 and "`curate models download no/such`" in told["error"]["message"]


def test_a_branch_is_pinned_by_the_commit_that_it_names(curate: Any, hub: Any) -> None:
    assert curate("download", NAME, "--revision", "main")[1][0]["model"]["revision"] == hub.commit(NAME)


def test_the_doctor_names_what_is_missing_and_a_run_fetches_it_once_where_it_may(
    curate: Any, hub: Any, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path / "root"))
    deployment = Deployment(storage)
    finding = weights(deployment)
    assert finding.status == "failed" and f"not on this machine: {NAME}" in finding.found
    assert "curate models download" in finding.remedy and "models.fetch" in finding.remedy
    assert servers(Deployment(storage, network=True)).status == "ok"

    prepared(EMBED, resolve_config(storage), storage)
    assert states(curate)[NAME] == "missing"
    configure(tmp_path, hub, fetch=True)
    assert weights(deployment).status == "warning"
    prepared(EMBED, resolve_config(storage), storage)
    assert weights(deployment).status == "ok" and NAME in weights(deployment).found
    asked = len(hub.requests)
    for _ in range(2):
        prepared(EMBED, resolve_config(storage), storage)
        assert resolve_config(storage).clip_embeddings.load().dimension == 24
    assert len(hub.requests) == asked
    next(Path(tmp_path / "models").glob("*/*/config.json")).unlink()
    assert "config.json is missing" in weights(deployment).found

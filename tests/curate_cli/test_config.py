"""`curate config`: which settings hold, what they mean, and a file of them."""

import json
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.catalogue import sections
from curate_assets.settings.resolve import CurationConfig, parse_config, resolve_config, validated
from curate_cli.app import app
from curate_resources.storage.root import Storage


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATE_ROOT", str(tmp_path))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["config", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_settings_that_hold_are_shown_with_what_sets_them(config, tmp_path):
    (tmp_path / "presets").mkdir()
    (tmp_path / "curate.yaml").write_text("clips: {min_seconds: 3, max_seconds: 30}\nengine: {kind: ray}\n")
    (tmp_path / "presets" / "films.yaml").write_text("clips: {max_seconds: 40}\n")
    given = tmp_path / "given.yaml"
    given.write_text("clips: {min_frames: 10}\n")
    shown = config("show", "--changed", "--preset", "films", "--config", str(given))
    assert shown == (
        "clips:\n"
        "  min_seconds: 3.0  # curate.yaml\n"
        "  min_frames: 10  # --config\n"
        "  max_seconds: 40.0  # presets/films.yaml\n"
        "engine:\n"
        "  kind: ray  # curate.yaml\n"
    )
    everything = yaml.safe_load(config("show"))
    assert everything == validated({"clips": everything["clips"], "engine": {"kind": "ray"}}).model_dump(
        mode="json", exclude={"graph", "variants", "reads", "preset"}
    )
    assert json.loads(config("show", "clips.min_seconds", "--json"))["settings"] == {"clips": {"min_seconds": 3.0}}


def test_what_a_preset_sets_is_shown_as_such(config, tmp_path):
    (tmp_path / "curate.yaml").write_text("preset: cosmos\ntraining_dataset: {min_seconds: 3}\n")
    assert config("show", "training_dataset", "--changed") == (
        "training_dataset:\n"
        "  min_seconds: 3.0  # curate.yaml\n"
        "  max_aspect_ratio: 10.0  # preset cosmos, by curate.yaml\n"
        "  tar_mib: 500  # preset cosmos, by curate.yaml\n"
        "  tars_per_part: 100  # preset cosmos, by curate.yaml\n"
    )
    (tmp_path / "curate.yaml").write_text("")
    assert config("show", "clip_selection.motion_global_mean_min", "--preset", "cosmos") == (
        "clip_selection:\n  motion_global_mean_min: 0.00098  # presets/cosmos.yaml\n"
    )


def test_the_settings_of_a_deployment_lie_below_those_of_the_root(config, tmp_path, monkeypatch):
    (tmp_path / "curate.yaml").write_text("clips: {min_seconds: 3}\n")
    (tmp_path / "deployment.yaml").write_text("clips: {min_seconds: 4, max_seconds: 30}\nengine: {kind: ray}\n")
    monkeypatch.setenv("CURATE_CONFIG", str(tmp_path / "deployment.yaml"))
    assert config("show", "--changed") == (
        "clips:\n"
        "  min_seconds: 3.0  # curate.yaml\n"
        "  max_seconds: 30.0  # CURATE_CONFIG\n"
        "engine:\n"
        "  kind: ray  # CURATE_CONFIG\n"
    )
    monkeypatch.setenv("CURATE_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"CURATE_CONFIG names .*none\.yaml, which cannot be read: No such file"):
        resolve_config(Storage(str(tmp_path)))


def test_a_key_is_explained(config, tmp_path):
    (tmp_path / "curate.yaml").write_text("clips: {min_seconds: 3}\n")
    (explained,) = json.loads(config("explain", "clips.min_seconds", "--json"))
    assert (explained["value"], explained["set_by"]) == (3.0, "curate.yaml")
    assert explained["recomputes"] == ["shot_boundaries", "clips"]
    said = config("explain", "clips.min_seconds").replace("\n", "")
    assert "a change recomputes shot_boundaries, clips, and what" in said
    assert "a change recomputes nothing: it has no effect on results" in config("explain", "captions.endpoint")
    assert config("explain", "checks").count("a change recomputes nothing") > 5


@pytest.mark.parametrize("section", [section.name for section in sections()])
def test_every_section_is_explained_with_all_its_keys(config, section):
    keys = [each.path for each in next(each for each in sections() if each.name == section).settings]
    assert [each["key"] for each in json.loads(config("explain", section, "--json"))] == keys
    said = config("explain", section)
    assert [key for key in keys if key not in said] == []


def test_what_only_some_backends_have_is_explained_and_shown_with_them(config, tmp_path):
    explained = json.loads(config("explain", "captions.model", "--json"))
    assert [each["backends"] for each in explained] == [["transformers", "vllm"], ["openai"], ["gemini"]]
    (tmp_path / "curate.yaml").write_text("captions: {max_tokens: 99}\n")
    assert "endpoint" not in config("show", "captions") and "prompt" in config("show", "captions")
    (tmp_path / "curate.yaml").write_text("captions: {backend: openai, model: seer, endpoint: http://h/v1}\n")
    assert "endpoint: http://h/v1  # curate.yaml" in config("show", "captions", "--changed")


@pytest.mark.parametrize(("name", "meant"), [("clip", "clips"), ("min_frames", "clips.min_frames")])
def test_a_key_that_is_nearly_right_is_proposed(name, meant):
    result = CliRunner().invoke(app, ["config", "explain", name])
    assert result.exit_code == 2 and f"did you mean '{meant}'" in result.stderr.replace("\n", " ")


def test_a_file_of_all_keys_holds_the_defaults_and_is_never_written_over(config, tmp_path):
    config("init")
    file = tmp_path / "curate.yaml"
    text = file.read_text()
    assert parse_config(text.encode(), "curate.yaml") == {}
    without_marks = "\n".join(line[2:] for line in text.splitlines()[2:] if line.startswith("# "))
    values: dict[str, Any] = yaml.safe_load(without_marks)
    assert validated(values) == CurationConfig()
    assert {f"{section}.{key}" for section, keys in values.items() for key in keys} == {
        each.path for section in sections() for each in section.settings if each.by_default
    }
    assert CliRunner().invoke(app, ["config", "init"]).exit_code == 2
    assert file.read_text() == text

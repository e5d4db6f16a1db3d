"""`curate preset`: what papers reject, written into `curate.yaml` with its source, and nothing else changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from curate_assets.graphs import CurationConfig
from curate_assets.settings.edit import write_sections
from curate_assets.settings.resolve import resolve_config, validated
from curate_assets.settings.shipped_presets import ShippedPreset, shipped_presets
from curate_assets.video.measuring import is_measured
from curate_assets.video.verdicts import SCORED
from curate_cli.app import app
from curate_resources.storage.root import Storage
from gpu_kernels.models.registry import registered
from gpu_kernels.models.section import ModelSection

MODELS = {"aesthetic_scores": {"model": "/models/clip", "head": "/models/head"}}
MINE = """\
# My library.
clip_selection:
  motion_peak_min: 0.001  # a guess
  # why
  short_side_min: 720
clips: {min_seconds: 3, splitter: "shots"}  # lengths
engine: {kind: in_process}
"""


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["preset", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CURATE_ROOT", str(tmp_path))
    (tmp_path / "curate.yaml").write_text(MINE)
    return tmp_path / "curate.yaml"


@pytest.mark.parametrize("preset", shipped_presets().values(), ids=shipped_presets())
@pytest.mark.parametrize("given", [{}, MODELS])
def test_every_preset_is_valid_enables_what_it_limits_and_needs_packaged_weights_only(
    preset: ShippedPreset, given: dict[str, Any]
) -> None:
    settings = preset.sections(given)
    config = validated({**settings, **{name: {**settings.get(name, {}), **keys} for name, keys in given.items()}})
    for asset in SCORED:
        for threshold in (each for score in asset.scores for each in score.named()):
            if threshold.setting in settings["clip_selection"]:
                assert is_measured(asset, config), threshold.setting
    defaults = CurationConfig()
    sections = [getattr(config, name) for name in settings if getattr(config, name) != getattr(defaults, name)]
    wanted = {each.model for section in sections if isinstance(section, ModelSection) for each in section.models()}
    packaged = {each.name for each in registered().values() if each.source == "package"}
    assert wanted - packaged == (
        {"/models/clip", "/models/head"} if given and "aesthetic_scores" in settings else set()
    )
    assert all(rule.set or rule.differs for rule in preset.rules)


def test_a_preset_is_written_with_sources_and_what_stood_there_stays(file: Path) -> None:
    applied = json.loads(run("apply", "movie_gen", "--json"))
    text = file.read_text()
    where = "section 3.2.1, visual filtering"
    assert (
        f"  short_side_min: 720  # preset movie_gen: sides of 720 pixels at least (Movie Gen, Meta 2024, {where})\n"
        in text
    )
    assert (
        "  motion_peak_min: 2.0e-05  # preset movie_gen: some motion (Movie Gen, Meta 2024, section 3.2.1, "
        "motion filtering; the number is ours)  # a guess\n  # why\n"
    ) in text
    assert text.startswith("# My library.\nclip_selection:\n") and "\nengine: {kind: in_process}\n" in text
    assert "clips:  # lengths\n" in text and '  splitter: "shots"\n' in text
    status = {each["setting"]: (each["before"], each["value"], each["status"]) for each in applied["changes"]}
    assert status["clips.min_seconds"] == (3, 4.0, "changed")
    assert status["clip_selection.short_side_min"] == (720, 720, "same")
    assert status["clip_selection.motion_peak_min"] == (0.001, 0.00002, "changed")
    assert status["borders.enabled"] == (False, True, "added")
    assert "60 % landscape, 40 % portrait" in {each["rule"] for each in applied["not_reproduced"]}
    config = resolve_config(Storage(str(file.parent)))
    assert (config.clips.max_seconds, config.text_overlays.enabled, config.engine.kind) == (16.0, True, "in_process")


def test_applying_twice_or_dry_changes_nothing_and_another_preset_takes_its_comments(file: Path) -> None:
    run("apply", "movie_gen", "--dry-run")
    assert file.read_text() == MINE
    run("apply", "movie_gen")
    once = file.read_text()
    shown = run("apply", "movie_gen")
    assert file.read_text() == once and "changed" not in shown and "says all of this already" in shown
    assert json.loads(run("apply", "movie_gen", "--json"))["written"] is None
    run("apply", "cosmos")
    line = next(line for line in file.read_text().splitlines() if "motion_peak_min" in line)
    assert line.startswith("  motion_peak_min: null  # preset cosmos: ") and line.endswith(")  # a guess")
    assert line.count("#") == 2


@pytest.mark.parametrize("mine", ["clip_selection: {}  # none yet\n", "clip_selection: {blur_max: 0.6}\nborders: {}\n"])
def test_sections_in_braces_have_their_comments_at_once(file: Path, mine: str) -> None:
    file.write_text(f"{mine}technical_quality: {{enabled: true}}\n")
    changes = json.loads(run("apply", "wan", "--json"))["changes"]
    once = file.read_text()
    assert sum("  # preset wan: " in line for line in once.splitlines()) == len(changes)
    run("apply", "wan")
    assert file.read_text() == once


def test_a_rule_that_needs_models_counts_where_they_are_named(file: Path) -> None:
    assert [each["needs"] for each in json.loads(run("apply", "open_sora", "--json"))["left_out"]] == [
        ["aesthetic_scores.model", "aesthetic_scores.head"]
    ]
    file.write_text(f"preset: open_sora\n{MINE}{yaml.safe_dump(MODELS)}")
    assert json.loads(run("apply", "open_sora", "--dry-run", "--json"))["left_out"] == []
    assert resolve_config(Storage(str(file.parent))).clip_selection.aesthetic_mean_min == 4.5  # taken, not written


def test_presets_of_the_root_are_listed_and_applied_like_the_others(file: Path) -> None:
    (file.parent / "presets").mkdir()
    (file.parent / "presets" / "studio.yaml").write_text("clip_selection: {seconds_max: 9}\n")
    names = [each["name"] for each in json.loads(run("list", "--json"))]
    assert names == ["cosmos", "finevideo", "koala", "movie_gen", "open_sora", "wan", "studio"]
    run("apply", "studio")
    assert "  seconds_max: 9  # preset studio: the preset studio of this root\n" in file.read_text()
    assert "seconds_max: 9" in run("show", "studio") and "our number" in run("show", "wan")
    said = run("apply", "studioo", code=2)
    assert "did you mean 'studio'" in said
    assert "there are cosmos, finevideo, koala" in run("show", "x", code=2).replace("\n", " ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clip_selection:\n",
        "{clip_selection: {seconds_min: 1}}",
        "clip_selection: {\n  seconds_min: 1,  # in braces\n  }\n",
        "clip_selection: {seconds_min: 1,\r\n  seconds_max: 8}  # mine\r\nengine: {kind: ray}\r\n",
        "clip_selection:\n  seconds_max:   8   # mine\n  seconds_min: 1",
    ],
)
def test_values_and_comments_fit_into_every_way_of_writing(tmp_path: Path, text: str) -> None:
    storage = Storage(str(tmp_path))
    storage.write("curate.yaml", text.encode())
    new = {"clip_selection": {"seconds_min": 2.0, "seconds_max": 8}, "borders": {"enabled": True}}
    comments = {f"{section}.{key}": "preset p: why" for section, keys in new.items() for key in keys}
    before = yaml.safe_load(text) or {}
    for _ in range(2):
        write_sections(storage, new, comments=comments)
        written = storage.read("curate.yaml").decode()
        assert yaml.safe_load(written) == {**before, **new}
        assert written.count("# preset p: why") == (0 if text.startswith("{") else 1 if "in braces" in text else 3)
        assert written.count("# mine") == text.count("# mine") and written.count("in braces") == text.count("in braces")

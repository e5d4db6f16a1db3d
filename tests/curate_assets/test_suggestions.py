"""Names that are nearly right, wherever names are given."""

import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.settings.presets import ShardSettings
from curate_assets.settings.resolve import CurationConfig, validated
from curate_assets.video.calibration import calibrate
from curate_assets.video.video_files import VIDEO_FILES
from curate_resources.sources.adding import add_units
from curate_resources.sources.declared import SourcesError, declared_sources
from curate_resources.sources.manifests import ManifestError, Manifests
from curate_resources.storage.profiles import StorageSettingsError, aws_client, storage_settings
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.errors import UserError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clip": {}}, "clip: unknown key; did you mean 'clips'?"),
        ({"clips": {"min_second": 1}}, "clips.min_second: unknown key; did you mean 'min_seconds'"),
        ({"captions": {"tar_mib": 1}}, "captions.tar_mib: unknown key; did you mean 'training_dataset.tar_mib'?"),
        ({"tars_per_part": 1}, "tars_per_part: unknown key; did you mean 'training_dataset.tars_per_part'?"),
        ({"engine": {"kind": "rai"}}, "engine.kind: Input should be 'auto', 'in_process' or 'ray' (got 'rai')"),
        ({"zzz": {}}, "zzz: unknown key"),
        (
            {"clip_selection": {"short_side_min": False}},
            "clip_selection.short_side_min: must be a number, not yes or no",
        ),
    ],
)
def test_settings(settings, said):
    with pytest.raises(ConfigError) as error:
        validated(settings)
    assert said in str(error.value)


def test_sources_presets_and_shards(tmp_path):
    storage = Storage(str(tmp_path))
    storage.write("sources.yaml", b"sources: {studio: {uri: /videos, events: {queu: http://localhost/q}, exlude: []}}")
    with pytest.raises(SourcesError) as sources:
        declared_sources(storage)
    assert "sources.studio.exlude: unknown key; did you mean 'exclude'" in str(sources.value)
    assert "sources.studio.events.queu: unknown key; did you mean 'queue'" in str(sources.value)
    storage.write("presets/studio.yaml", b"")
    with pytest.raises(ConfigError, match=r"there is no preset 'stdio'.*; did you mean 'studio'\?"):
        ShardSettings.read(storage).preset("stdio")
    (tmp_path / "film.mp4").write_bytes(b"x")
    add_units(Manifests(storage), str(tmp_path / "film.mp4"), "films", 10, 1 << 30, VIDEO_FILES)
    with pytest.raises(ManifestError, match=r"there is no shard 'film-000000'.*; did you mean 'films-000000'\?"):
        Manifests(storage).matching(["film-000000"])


def test_scores_and_storage_profiles(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"'motion_global' with a threshold; did you mean 'motion_global_mean'"):
        calibrate(Tables(Storage(str(tmp_path))), CurationConfig(), ["motion_global"], 10, 5.0, 0, None)
    settings = tmp_path / "storage.yaml"
    monkeypatch.setenv("CURATE_STORAGE", str(settings))
    settings.write_text("profiles: {minio: {uris: ['s3://takes/'], endpoint: 'http://localhost:9'}}")
    with pytest.raises(StorageSettingsError, match=r"there is no profile 'mini'.*; did you mean 'minio'\?"):
        aws_client("sqs", "mini", None)
    settings.write_text("profiles: {minio: {uris: ['s3://takes/'], secret_acess_key: hidden}}")
    with pytest.raises(StorageSettingsError) as unknown:
        storage_settings()
    assert "secret_acess_key: unknown key; did you mean 'secret_access_key'" in str(unknown.value)
    assert "hidden" not in str(unknown.value)

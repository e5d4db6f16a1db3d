"""The training set: bins, bytes, resume, and a reader that is not ours."""

import hashlib
import json

import pyarrow as pa
import pytest
import webdataset

from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.training_dataset import TrainingDatasetConfig, write_dataset
from curate_assets.video.samples import Bin, bin_of

OF_THE_REFERENCE = TrainingDatasetConfig(min_seconds=5, max_aspect_ratio=10)


@pytest.mark.parametrize(
    ("width", "height", "seconds", "expected", "of_the_reference"),
    [
        (1920, 1080, 5.0, Bin("1080", "16_9", "5_10"), True),
        (1080, 1920, 9.99, Bin("1080", "9_16", "5_10"), True),
        (960, 720, 10.0, Bin("720", "4_3", "5_10"), True),
        (960, 720, 10.000000001, Bin("720", "4_3", "5_10"), True),
        (960, 720, 10.01, Bin("720", "4_3", "10_30"), True),
        (640, 640, 30.0, Bin("lt_720", "1_1", "10_30"), True),
        (640, 640, 30.1, Bin("lt_720", "1_1", "30_inf"), True),
        (480, 640, 29.9, Bin("lt_720", "3_4", "10_30"), True),
        (1920, 1080, 4.99, Bin("1080", "16_9", "0_5"), False),
        (4000, 400, 6.0, Bin("lt_720", "16_9", "5_10"), True),
        (4000, 300, 6.0, Bin("lt_720", "wide", "5_10"), False),
    ],
)
def test_bins_are_closed_and_the_first_that_fits_takes_the_clip(width, height, seconds, expected, of_the_reference):
    assert bin_of(width, height, seconds, TrainingDatasetConfig()) == expected
    assert bin_of(width, height, seconds, OF_THE_REFERENCE) == (expected if of_the_reference else None)


def test_webdataset_reads_every_kept_clip_with_its_facts(copy):
    written = write_dataset(copy.tables, TrainingDatasetConfig())
    kept = {row["clip_id"] for row in copy.contents()["duplicate_groups"].to_pylist() if row["keeper"]}
    files = {row["clip_id"]: row for row in copy.contents()["clip_files"].to_pylist()}
    manifest = json.loads(copy.storage.read("datasets/v0/manifest.json"))
    assert manifest["samples"] == written.samples == len(kept)
    seen = {}
    for tar in manifest["tars"]:
        path = copy.path / "datasets" / "v0" / tar["path"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == tar["sha256"]
        for sample in webdataset.WebDataset(str(path), shardshuffle=False):
            seen[sample["__key__"]] = hashlib.sha256(sample["mp4"]).hexdigest()
            about = json.loads(sample["json"])
            assert about["clip_id"] == sample["__key__"]
            assert about["span_frames"][1] - about["span_frames"][0] == about["frames"]
            assert "motion" in about and "faces" not in about  # nobody asked for the faces
    assert seen == {clip: files[clip]["sha256"] for clip in kept}
    rows = [row for part in written.rows.values() for row in part.to_pylist()]
    assert {row["clip_id"] for row in rows if row["status"] == "ok"} == kept


def test_every_kept_clip_has_a_bin_unless_the_settings_leave_it_out(copy):
    written = write_dataset(copy.tables, TrainingDatasetConfig())
    assert written.samples == sum(row["keeper"] for row in copy.contents()["duplicate_groups"].to_pylist())
    written = write_dataset(copy.tables, OF_THE_REFERENCE)
    rows = [row for part in written.rows.values() for row in part.to_pylist()]
    assert written.samples == 0
    assert {(row["status"], row["left_out"]) for row in rows} == {("empty", "no_duration_bin")}


def test_it_goes_on_where_it_stopped_and_makes_the_same_bytes(copy):
    small = TrainingDatasetConfig(tar_mib=1, tars_per_part=1)
    write_dataset(copy.tables, small)
    folder = copy.path / "datasets"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    tars = sorted(path for path in before if path.suffix == ".tar")
    again = write_dataset(copy.tables, small)
    assert again.resumed == again.tars == len(tars)
    tars[0].write_bytes(b"cut short")
    mended = write_dataset(copy.tables, small)
    assert mended.resumed == len(tars) - 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_tars_of_an_earlier_layout_are_removed(copy):
    write_dataset(copy.tables, TrainingDatasetConfig())
    write_dataset(copy.tables, OF_THE_REFERENCE)
    assert not list((copy.path / "datasets").rglob("*.tar"))


def test_a_clip_file_that_changed_or_is_gone_costs_no_other_its_place(copy):
    kept = write_dataset(copy.tables, TrainingDatasetConfig()).samples
    changed, gone, *_ = sorted((copy.path / "media" / "clips").iterdir())
    content = changed.read_bytes(), gone.read_bytes()
    changed.write_bytes(content[0][:-1] + b"x")
    gone.unlink()
    other = TrainingDatasetConfig(version="v1")
    written = write_dataset(copy.tables, other)
    failed = [row for part in written.rows.values() for row in part.to_pylist() if row["status"] == "failed"]
    assert sorted(row["error"]["type"] for row in failed) == ["ChangedFile", "FileNotFoundError"]
    assert all("--select clip_files --force" in said for said in written.lost)
    assert all(any(path.name in said for said in written.lost) for path in (changed, gone))
    manifest = json.loads(copy.storage.read("datasets/v1/manifest.json"))
    assert manifest["samples"] == written.samples == kept - 2
    changed.write_bytes(content[0])
    gone.write_bytes(content[1])
    assert write_dataset(copy.tables, other).samples == kept


def test_a_clip_whose_source_is_gone_stops_no_other(copy):
    kept = write_dataset(copy.tables, TrainingDatasetConfig()).samples
    table = copy.tables.read(SOURCE_VIDEOS, "b-000000", columns=SOURCE_VIDEOS.rows_schema.names).to_pylist()
    rows = [{**row, "status": "failed"} if row["uri"].endswith("phone.mp4") else row for row in table]
    copy.tables.swap(SOURCE_VIDEOS, "b-000000", pa.Table.from_pylist(rows, schema=SOURCE_VIDEOS.rows_schema))
    assert 0 < write_dataset(copy.tables, TrainingDatasetConfig()).samples < kept

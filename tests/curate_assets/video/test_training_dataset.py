"""The training set: bins, bytes, resume, and a reader that is not ours."""

import hashlib
import json

import pytest
import webdataset

from curate_assets.config import TrainingDatasetConfig
from curate_assets.video.training_dataset import Bin, bin_of, write_dataset
from gpu_kernels.errors import UserError

ANY_LENGTH = TrainingDatasetConfig(min_seconds=0.1)


@pytest.mark.parametrize(
    ("width", "height", "seconds", "expected"),
    [
        (1920, 1080, 5.0, Bin("1080", "16_9", "5_10")),
        (1080, 1920, 9.99, Bin("1080", "9_16", "5_10")),
        (960, 720, 10.0, Bin("720", "4_3", "10_30")),
        (640, 640, 30.0, Bin("lt_720", "1_1", "30_inf")),
        (480, 640, 29.9, Bin("lt_720", "3_4", "10_30")),
        (1920, 1080, 4.99, None),
        (4000, 300, 6.0, None),
    ],
)
def test_bins_are_those_of_the_reference_pipeline(width, height, seconds, expected):
    assert bin_of(width, height, seconds, TrainingDatasetConfig().min_seconds) == expected


def test_webdataset_reads_every_kept_clip_with_its_facts(copy):
    written = write_dataset(copy.tables, ANY_LENGTH)
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
    assert seen == {clip: files[clip]["sha256"] for clip in kept}
    rows = [row for part in written.rows.values() for row in part.to_pylist()]
    assert {row["clip_id"] for row in rows if row["status"] == "ok"} == kept


def test_clips_below_the_shortest_bin_are_left_out_and_said_to_be(copy):
    written = write_dataset(copy.tables, TrainingDatasetConfig())
    rows = [row for part in written.rows.values() for row in part.to_pylist()]
    assert written.samples == 0
    assert {(row["status"], row["left_out"]) for row in rows} == {("empty", "no_duration_bin")}


def test_it_goes_on_where_it_stopped_and_makes_the_same_bytes(copy):
    small = TrainingDatasetConfig(min_seconds=0.1, tar_mib=1, tars_per_part=1)
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
    write_dataset(copy.tables, ANY_LENGTH)
    write_dataset(copy.tables, TrainingDatasetConfig())
    assert not list((copy.path / "datasets").rglob("*.tar"))


def test_a_clip_file_that_changed_is_an_error_that_names_it(copy):
    (first, *_) = sorted((copy.path / "media" / "clips").iterdir())
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=first.name):
        write_dataset(copy.tables, ANY_LENGTH)

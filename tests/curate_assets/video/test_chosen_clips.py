"""Clips that are chosen by their vectors, and a selection that is limited to them."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.measurements.motion_scores import MOTION_SCORES
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.graph import VIDEO
from curate_cli.app import app
from curate_resources.declarations.table import Row
from gpu_kernels.shots.splitting import SECOND


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    """Eight clips of the sea, three of a town and one of an owl; a duplicate and a rejected clip are the most isolated
    ones."""
    made = TemporaryRoot(tmp_path)
    made.add("a", ["/videos/a.mp4"])
    random = np.random.default_rng(0)
    middles = {"sea": 0, "town": 1, "owl": 2, "duplicate": 3, "rejected": 4}
    names = [f"sea-{n}" for n in range(8)] + [f"town-{n}" for n in range(3)] + ["owl-0", "duplicate-0", "rejected-0"]
    rows: list[Row] = []
    for name in names:
        vector = np.eye(5, 24)[middles[name.split("-")[0]]] + random.normal(0, 0.05, 24)
        vector /= np.linalg.norm(vector)
        rows.append({"video_id": "a", "clip_id": name, "fingerprint": name, "vector": vector.tolist()})
    keys = [{key: row[key] for key in ("video_id", "clip_id", "fingerprint")} for row in rows]
    video = {"video_id": "a", "uri": "/videos/a.mp4", "width": 640, "height": 360, "duration_ns": 99 * SECOND}
    made.store(SOURCE_VIDEOS, "a", [{**video, "average_rate": 25.0, "fingerprint": "a"}])
    span = {"start_frame": 0, "end_frame": 100, "start_ns": 0, "end_ns": 4 * SECOND}
    made.store(CLIPS, "a", [{**row, **span} for row in keys])
    made.store(CLIP_EMBEDDINGS, "a", [{**row, "model": "m", "model_revision": "1"} for row in rows])
    made.store(CLIP_SELECTION, "a", [{**row, "selected": row["clip_id"] != "rejected-0"} for row in keys])
    grouped = [row for row in keys if row["clip_id"] != "rejected-0"]
    made.store(DUPLICATE_GROUPS, "a", [{**row, "keeper": row["clip_id"] != "duplicate-0"} for row in grouped])
    return made


def sampled(root: TemporaryRoot, *options: str) -> tuple[str, dict[str, float | None]]:
    """The name of the list, and by clip what it was chosen by."""
    done = CliRunner().invoke(app, ["sample", *options, "--root", str(root.folder), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert Path(found["file"]).read_text().splitlines()[0] == "clip_id,value"
    return found["name"], {each["clip_id"]: each["value"] for each in found["clips"]}


def test_clips_without_a_vector_are_counted(root: TemporaryRoot) -> None:
    key = {"video_id": "b", "clip_id": "late-0"}
    root.add("b", ["/videos/b.mp4"])
    root.store(CLIP_SELECTION, "b", [key | {"selected": True}])
    done = CliRunner().invoke(app, ["sample", "--diverse", "2", "--root", str(root.folder)])
    assert "1 more have no vector in clip_embeddings, and cannot be chosen" in done.output
    done = CliRunner().invoke(app, ["sample", "--isolated", "2", "--root", str(root.folder), "--json"])
    assert (json.loads(done.stdout)["of"], json.loads(done.stdout)["without_vector"]) == (12, 1)


def test_a_diverse_sample_has_each_kind_and_isolated_clips_are_like_no_others(root: TemporaryRoot) -> None:
    name, diverse = sampled(root, "--diverse", "3")
    assert {clip.split("-")[0] for clip in diverse} == {"sea", "town", "owl"}
    assert all(value < 0.3 for value in [*diverse.values()][1:] if value is not None)
    assert sampled(root, "--diverse", "3")[0] == name  # the same clips are the same list
    _, isolated = sampled(root, "--isolated", "4")
    assert next(iter(isolated)) == "owl-0" and {*isolated} == {"owl-0", "town-0", "town-1", "town-2"}


def test_clips_like_those_that_are_labelled_are_found(root: TemporaryRoot, tmp_path: Path) -> None:
    labels = tmp_path / "good ones.csv"
    labels.write_text("clip_id,label\ntown-1,keep\nsea-3,reject\nsomething else,keep\n")
    name, found = sampled(root, "--nearest-to", str(labels), "--count", "2")
    assert name.startswith("like-good-ones-2-") and {*found} == {"town-0", "town-2"}
    done = CliRunner().invoke(app, ["sample", "--nearest-to", str(labels), "--root", str(root.folder)])
    assert "left out: the root has no clip something else (1 in all)" in done.output
    labels.write_text("clip_id,label\ntown-1,unsure\n")
    done = CliRunner().invoke(app, ["sample", "--nearest-to", str(labels), "--root", str(root.folder)])
    assert done.exit_code == 2 and "no selected clip has the label keep" in done.output


def selection(root: TemporaryRoot, only: str | None) -> dict[str, list[str]]:
    """By clip, the reasons against it."""
    root.materialize(VIDEO, "clip_selection", settings={"clip_selection": {"only": only}})
    return {row["clip_id"]: row["reasons"] for row in root.rows(CLIP_SELECTION)}


def test_a_selection_is_limited_to_a_list(root: TemporaryRoot, tmp_path: Path) -> None:
    keys = [{key: row[key] for key in ("video_id", "clip_id")} for row in root.rows(CLIPS)]
    scores = {"global_mean": 0.5, "per_patch_min_256": 0.5, "peak": 0.5}
    root.store(MOTION_SCORES, "a", [{**row, **scores} for row in keys])
    own = tmp_path / "own.csv"
    own.write_text("note,clip_id\nfine,sea-2\n,town-0\n,gone-0\n")
    name, listed = sampled(root, "--from", str(own))
    assert {*listed} == {"sea-2", "town-0"}
    said = CliRunner().invoke(app, ["sample", "--from", str(own), "--root", str(root.folder)]).output
    assert "left out: the root has no clip gone-0 (1 in all)" in said
    before = selection(root, None)
    found = selection(root, name)
    assert {clip for clip, reasons in found.items() if "not_listed" not in reasons} == {"sea-2", "town-0"}
    assert {clip: [each for each in reasons if each != "not_listed"] for clip, reasons in found.items()} == before
    assert selection(root, None) == before
    assert selection_errors(root, "other-0123456789ab") == {f"lists: {name}"}
    path = f"selections/{name}.csv"
    root.storage.write(path, root.storage.read(path) + b"sea-3,\n")
    (said,) = selection_errors(root, name)
    assert said.endswith("makes a list of what is in it now")


def selection_errors(root: TemporaryRoot, only: str) -> set[str]:
    """The ends of what is said of clips that get no verdict; every clip is one of these."""
    selection(root, only)
    rows = root.rows(CLIP_SELECTION)
    assert {row["status"] for row in rows} == {"failed"}
    return {row["error"]["message"].rpartition("; ")[2] for row in rows}


def test_what_cannot_be_chosen_is_said(root: TemporaryRoot, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("name\nsea-1\n")
    for options, said in (
        (["--diverse", "3", "--isolated", "3"], "give one of"),
        (["--diverse", "3", "--count", "5"], "--count is of --nearest-to"),
        (["--from", str(other)], "does not name the column clip_id"),
        (["--from", str(tmp_path / "gone.csv")], "cannot be read"),
    ):
        done = CliRunner().invoke(app, ["sample", *options, "--root", str(root.folder)])
        assert done.exit_code == 2 and said in " ".join(done.output.split()), done.output


def test_a_table_that_has_no_vectors_of_clips_is_refused(root: TemporaryRoot, tmp_path: Path) -> None:
    commands = ["sample", "--diverse", "3"], ["semdedup", "--output", str(tmp_path / "out")]
    for command in commands:
        for table, said in (
            ("clip_embedings", "did you mean 'clip_embeddings'"),
            ("motion_scores", "'motion_scores' is no table of clips' vectors"),
        ):
            done = CliRunner().invoke(app, [*command, "--table", table, "--root", str(root.folder)])
            assert done.exit_code == 2 and said in " ".join(done.output.split()), done.output
        assert CliRunner().invoke(app, [*command, "--root", str(root.folder)]).exit_code == 0

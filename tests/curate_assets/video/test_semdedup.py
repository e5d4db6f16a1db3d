"""`curate semdedup` on files of others: what it writes is what the reference's reader takes, and bad input is named."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate_assets.video.semdedup import Summary, run_semdedup
from curate_assets.video.vector_files import parts_in_files
from curate_cli.app import app
from curate_resources.storage.root import Storage
from curate_resources.tables import stored_vectors
from gpu_kernels.errors import UserError

CLUSTERS, EACH = 3, 20
KINDS = ("in_process", "ray")


def write(folder: Path, name: str, ids: list, vectors: list, kind: pa.DataType | None = None) -> None:
    folder.mkdir(exist_ok=True)
    columns = {"id": pa.array(ids), "embedding": pa.array(vectors, kind or pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns), folder / name)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three clusters at right angles, of any length; in each, `copy-*` is a vector that is there already, turned by a
    cosine of 0.995."""
    random = np.random.default_rng(5)
    for cluster in range(CLUSTERS):
        vectors = 3 * np.eye(CLUSTERS, 32)[cluster] + random.normal(0, 0.3, (EACH, 32))
        beside = random.normal(0, 1, (5, 32))
        units = vectors[:5] / np.linalg.norm(vectors[:5], axis=1, keepdims=True)
        beside -= (beside * units).sum(axis=1, keepdims=True) * units
        beside /= np.linalg.norm(beside, axis=1, keepdims=True)
        copies = 0.995 * units + np.sqrt(1 - 0.995**2) * beside
        names = [f"clip-{cluster}-{row}" for row in range(EACH)] + [f"copy-{cluster}-{row}" for row in range(5)]
        write(tmp_path / "in", f"{cluster}.parquet", names, np.concatenate([vectors, copies]).tolist())
    return tmp_path / "in"


@pytest.mark.parametrize("more", [[], ["--mini-batch"]])
def test_the_files_are_those_that_the_reference_reads(source: Path, tmp_path: Path, more: list[str]) -> None:
    run = ["semdedup", "--input", str(source), "--output", str(tmp_path / "out"), "--clusters", "3", *more]
    done = CliRunner().invoke(app, [*run, "--eps", "0.01", "--eps", "0.001", "--json"])
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    assert np.load(out / "clustering_results/kmeans_centroids.npy").shape == (3, 32)
    members = [pq.read_table(path) for path in sorted(out.glob("clustering_results/embs_by_nearest_center/*"))]
    assert [rows.schema.names for rows in members] == [["id", "embedding", "cosine_dist_to_cent"]] * 3
    assert all(len({name.split("-")[1] for name in rows["id"].to_pylist()}) == 1 for rows in members)
    pruned = [pq.read_table(path) for path in sorted(out.glob("extraction/semdedup_pruning_tables/*.parquet"))]
    assert [rows.schema.names for rows in pruned] == [["id", "max_id", "cosine_sim_score"]] * 3
    found = {row["id"]: row for row in pa.concat_tables(pruned).to_pylist()}
    assert len(found) == CLUSTERS * (EACH + 5)
    # As its shard step does: the ids in a folder of that name go; one of each pair stays, and each says why it goes.
    removed = set(pq.read_table(out / "extraction/unique_ids_0.01.parquet")["id"].to_pylist())
    pairs = [{f"clip-{cluster}-{row}", f"copy-{cluster}-{row}"} for cluster in range(CLUSTERS) for row in range(5)]
    assert [len(pair & removed) for pair in pairs] == [1] * len(pairs) and len(removed) == len(pairs)
    for name in removed:
        assert {name, found[name]["max_id"]} in pairs
        assert found[name]["cosine_sim_score"] == pytest.approx(0.995, abs=1e-5)
    assert removed == {row["id"] for row in found.values() if row["cosine_sim_score"] > np.float32(0.99)}
    assert pq.read_table(out / "extraction/unique_ids_0.001.parquet").num_rows == 0
    summary = list(csv.DictReader(io.StringIO((out / "extraction/dedup_summary_0.01.csv").read_text())))
    assert summary == [{"eps": "0.01", "kept": "60", "removed": "15", "total": "75"}]


@pytest.mark.deep
def test_workers_of_ray_write_the_same_files(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_vectors, "_FRAGMENT", 30 * 4 * 32)
    root = Storage(str(tmp_path / "root"))
    for kind in KINDS:
        root.write("curate.yaml", f"engine: {{kind: {kind}, cpus: 2}}".encode())
        run = ["semdedup", "--input", str(source), "--output", str(tmp_path / kind), "--root", root.root]
        try:
            done = CliRunner().invoke(app, [*run, "--clusters", "5", "--pairs", "0.99"])
        finally:
            started = "ray" in sys.modules and sys.modules["ray"].is_initialized()
            if started:
                sys.modules["ray"].shutdown()
        assert (done.exit_code, started) == (0, kind == "ray"), done.output
    here, there = (sorted(each for each in (tmp_path / kind).rglob("*") if each.is_file()) for kind in KINDS)
    assert [each.relative_to(tmp_path / "ray") for each in there] == [
        each.relative_to(tmp_path / "in_process") for each in here
    ]
    assert [each.read_bytes() for each in here] == [each.read_bytes() for each in there]


def test_pairs_across_clusters_are_found_too(source: Path, tmp_path: Path) -> None:
    run = ["semdedup", "--input", str(source), "--output", str(tmp_path / "out"), "--clusters", "60", "--pairs", "0.99"]
    done = CliRunner().invoke(app, [*run, "--json"])
    assert done.exit_code == 0, done.output
    rows = pq.read_table(tmp_path / "out/extraction/near_pairs.parquet").to_pylist()
    planted = [(f"clip-{cluster}-{row}", f"copy-{cluster}-{row}") for cluster in range(CLUSTERS) for row in range(5)]
    assert [(row["id"], row["other_id"]) for row in rows] == planted
    assert [row["cosine"] for row in rows] == pytest.approx([0.995] * len(rows), abs=1e-5)
    # What is in other clusters, SemDeDup cannot remove.
    said, across = json.loads(done.stdout), sum(row["across_clusters"] for row in rows)
    assert (said["pairs"]["pairs"], said["pairs"]["across_clusters"]) == (len(planted), across)
    assert said["summaries"][0]["removed"] == len(planted) - across


def test_how_rows_lie_in_files_changes_nothing(source: Path, tmp_path: Path) -> None:
    rows = pa.concat_tables([pq.read_table(path) for path in source.iterdir()])
    shuffled = rows.take(pa.array(np.random.default_rng(0).permutation(rows.num_rows)))
    (tmp_path / "other/nested").mkdir(parents=True)
    pq.write_table(shuffled.slice(0, 30), tmp_path / "other/nested/b.parquet")
    kind = pa.list_(pa.float64(), 32)
    wide = shuffled.slice(30).set_column(1, "embedding", shuffled.slice(30)["embedding"].cast(kind))
    pq.write_table(wide, tmp_path / "other/a.parquet")
    for name in ("in", "other"):
        run_semdedup(parts_in_files(Storage(str(tmp_path / name))), Storage(str(tmp_path / f"{name}-out")), 4)
    written = [path.relative_to(tmp_path / "in-out") for path in (tmp_path / "in-out").rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        assert (tmp_path / "in-out" / path).read_bytes() == (tmp_path / "other-out" / path).read_bytes()


def test_ids_are_texts_however_they_are_stored(source: Path, tmp_path: Path) -> None:
    run_semdedup(parts_in_files(Storage(str(source))), Storage(str(tmp_path / "plain")))
    kinds = [pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()]
    for path, kind in zip(sorted(source.iterdir()), kinds, strict=True):
        rows = pq.read_table(path)
        pq.write_table(rows.set_column(0, "id", rows["id"].cast(kind)), path)
    run_semdedup(parts_in_files(Storage(str(source))), Storage(str(tmp_path / "mixed")))
    path = "clustering_results/kmeans_centroids.npy", "extraction/unique_ids_0.01.parquet/part.0.parquet"
    for each in path:
        assert (tmp_path / "mixed" / each).read_bytes() == (tmp_path / "plain" / each).read_bytes()


def test_there_may_be_fewer_rows_than_clusters_and_an_earlier_run_is_not_mixed_in(tmp_path: Path) -> None:
    write(tmp_path / "in", "a.parquet", [3, 1, 2], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    out = Storage(str(tmp_path / "out"))

    def run(**options: Any) -> list[Summary]:
        return run_semdedup(parts_in_files(Storage(str(tmp_path / "in"))), out, **options)[0]

    found = run(clusters=4)
    assert (found[0].kept, found[0].removed) == (2, 1)
    with pytest.raises(UserError, match=r"of an earlier run.*--overwrite"):
        run(clusters=1)
    run(clusters=1, overwrite=True)
    assert [file.path for file in out.walk("extraction/semdedup_pruning_tables")] == [
        "extraction/semdedup_pruning_tables/cluster_0.parquet"
    ]


@pytest.mark.parametrize(
    ("ids", "vectors", "said"),
    [
        (["a", "b"], [[1.0, 0.0], [1.0]], "'b' has a vector of 1 dimensions, and 'a' of 2"),
        (["a", "b"], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], "vectors of 3 dimensions, and .*first.parquet of 2"),
        (["a", "b"], [[1.0, 0.0], [float("nan"), 0.0]], "the vector of 'b' holds something that is no finite number"),
        (["a", "b"], [[1.0, 0.0], [0.0, 0.0]], "the vector of 'b' has length 0"),
        (["a", "b"], [[1.0, 0.0], None], "'b' has no vector"),
        (["a", "b"], [[], []], "the vector of 'a' is empty"),
        (["a", None], [[1.0, 0.0], [1.0, 0.0]], "1 rows without an id"),
        (["a", "first"], [[1.0, 0.0], [1.0, 0.0]], "'first' is in .* and again in .*: an id must be there once"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, ids: list, vectors: list, said: str) -> None:
    write(tmp_path / "in", "first.parquet", ["first"], [[1.0, 0.0]])
    write(tmp_path / "in", "second.parquet", ids, vectors)
    with pytest.raises(UserError, match=said) as error:
        run_semdedup(parts_in_files(Storage(str(tmp_path / "in"))), Storage(str(tmp_path / "out")))
    assert [*(tmp_path / "out").glob("*")] == []
    assert "second.parquet" in str(error.value)


def test_bad_files_and_bounds_are_named(tmp_path: Path) -> None:
    folder = Storage(str(tmp_path / "in"))
    with pytest.raises(UserError, match=r"no such file, nor a folder with files that end in \.parquet"):
        next(parts_in_files(folder))
    write(tmp_path / "in", "a.parquet", ["a"], [[1.0, 0.0]])
    with pytest.raises(UserError, match="has no column 'vector'; it has id, embedding"):
        next(parts_in_files(folder, vector_column="vector"))
    for eps in (0.00001, 1.0, 0.0123456):
        with pytest.raises(UserError, match="with up to 5 decimals"):
            run_semdedup(parts_in_files(folder), Storage(str(tmp_path / "out")), eps=[eps])
    (tmp_path / "in" / "b.parquet").write_bytes(b"text")
    with pytest.raises(UserError, match=r"b\.parquet is no Parquet file"):
        [*parts_in_files(folder)]

"""Vectors in Parquet files as other programs write them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate_assets.video.semdedup import run_semdedup
from curate_assets.video.vector_files import parts_in_files
from curate_cli.app import app
from curate_resources.storage.root import Storage
from gpu_kernels.errors import UserError


def test_a_file_without_rows_may_have_any_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": pa.nulls(0), "embedding": pa.nulls(0)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["x"], "embedding": [[3.0, 4.0]]}), tmp_path / "b.parquet")
    (part,) = parts_in_files(Storage(str(tmp_path)))
    assert part.ids.to_pylist() == ["x"] and part.matrix.tolist() == [[0.6000000238418579, 0.800000011920929]]


def test_vectors_are_lists_of_any_kind(tmp_path: Path) -> None:
    values, starts, sizes = pa.array([0.0, 1.0, 1.0, 0.0]), pa.array([2, 0], pa.int32()), pa.array([2, 2], pa.int32())
    lists = [pa.array([[1.0, 0.0], [0.0, 1.0]], kind) for kind in (pa.large_list(pa.float32()), pa.list_(pa.int8(), 2))]
    for vectors in (pa.ListViewArray.from_arrays(starts, sizes, values), *lists):
        pq.write_table(pa.table({"id": ["x", "y"], "embedding": vectors}), tmp_path / "a.parquet")
        for source in (tmp_path, tmp_path / "a.parquet"):  # a folder, or a file alone
            (part,) = parts_in_files(Storage(str(source)))
            assert part.matrix.tolist() == [[1.0, 0.0], [0.0, 1.0]], vectors.type


def test_an_output_among_the_input_is_not_read(tmp_path: Path) -> None:
    folder = Storage(str(tmp_path))
    pq.write_table(pa.table({"id": ["x", "y"], "embedding": [[3.0, 4.0], [4.0, 3.0]]}), tmp_path / "a.parquet")
    run_semdedup(parts_in_files(folder), folder, clusters=1)
    with pytest.raises(UserError, match=r"is what `curate semdedup` wrote.*another --output"):
        next(parts_in_files(folder))
    for output in (tmp_path, tmp_path / "out"):
        done = CliRunner().invoke(app, ["semdedup", "--input", str(tmp_path), "--output", str(output)])
        assert done.exit_code == 2 and "lies in --input" in done.output, output
    clusters = Storage(str(tmp_path / "clustering_results"))  # asked for by itself it may be read
    assert next(parts_in_files(clusters)).ids.to_pylist() in (["x", "y"], ["y", "x"])

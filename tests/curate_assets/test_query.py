"""Rows of queries as programs read them."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate_assets.operations.query import QueryError, run_query
from curate_assets.operations.query_output import format_of, json_document, write_rows
from curate_cli.app import app
from curate_resources.storage.root import Storage
from gpu_kernels.errors import UserError

SQL = r"""
SELECT
    '\x00\xFF'::blob AS bytes, ['\x01'::blob] AS many, {'picture': '\x02'::blob, 'at': [1, 2]} AS struct,
    'nan'::double AS nan, ['inf'::float, '-inf'::float, 1.5::float] AS floats,
    sum(x) AS total, 1.25::decimal(10, 2) AS price, 0.12345678901234567890::decimal(38, 20) AS fine,
    170141183460469231731687303715884105727::hugeint AS huge, 9007199254740993::bigint AS big,
    timestamp '2024-01-02 10:00:00.5' AS time, timestamptz '2024-01-02 10:00:00+02' AS zoned, date '2024-01-02' AS day,
    timestamp_ns '2024-01-02 10:00:00.123456789' AS nanos, time '10:00' AS clock,
    interval '1 month 2 days 3 seconds' AS span, map {'a': 1} AS map, true AS yes, NULL AS nothing, 'é "q", x' AS text,
    '' AS blank
FROM range(4) r(x)
"""

JSON_ROW = {
    "bytes": "AP8=",
    "many": ["AQ=="],
    "struct": {"picture": "Ag==", "at": [1, 2]},
    "nan": "NaN",
    "floats": ["Infinity", "-Infinity", 1.5],
    "total": 6,
    "price": 1.25,
    "fine": "0.12345678901234567890",
    "huge": 170141183460469231731687303715884105727,
    "big": 9007199254740993,
    "time": "2024-01-02T10:00:00.500000",
    "zoned": "2024-01-02T08:00:00+00:00",
    "day": "2024-01-02",
    "nanos": "2024-01-02T10:00:00.123456789",
    "clock": "10:00:00",
    "span": {"months": 1, "days": 2, "nanoseconds": 3_000_000_000},
    "map": [["a", 1]],
    "yes": True,
    "nothing": None,
    "text": 'é "q", x',
    "blank": "",
}


@pytest.mark.parametrize("sql", ["", ";", "-- nothing"])
def test_what_is_no_query_is_an_error(storage, sql):
    with pytest.raises(QueryError, match="gives no rows"):
        run_query(storage, sql)


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage(str(tmp_path))


def strict(text: str):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_has_every_value(storage):
    assert strict(json_document(run_query(storage, SQL))) == [JSON_ROW]
    assert strict(json_document(run_query(storage, "SELECT 1 AS a WHERE false"))) == []


def test_csv_has_every_value(storage):
    file = io.BytesIO()
    write_rows(run_query(storage, SQL), "csv", file)
    (row,) = csv.DictReader(io.StringIO(file.getvalue().decode()))
    assert row["bytes"] == "AP8=" and strict(row["struct"]) == JSON_ROW["struct"]
    assert strict(row["floats"]) == JSON_ROW["floats"] and row["nan"] == "nan"
    assert (row["total"], row["huge"], row["fine"]) == ("6", str(JSON_ROW["huge"]), JSON_ROW["fine"])
    assert row["nanos"] == "2024-01-02 10:00:00.123456789" and row["text"] == JSON_ROW["text"]
    assert file.getvalue().decode().strip().endswith(',"é ""q"", x",""')  # an empty text, unlike a null


def test_parquet_keeps_the_types(storage):
    file = io.BytesIO()
    rows = run_query(storage, SQL.replace("interval '1 month 2 days 3 seconds' AS span,", ""))
    write_rows(rows, "parquet", file)
    assert pq.read_table(io.BytesIO(file.getvalue())).to_pylist()[0]["struct"] == {"picture": b"\x02", "at": [1, 2]}
    with pytest.raises(UserError, match="Parquet has no type for a column"):
        write_rows(run_query(storage, "SELECT interval '1 day' AS span"), "parquet", io.BytesIO())


def test_no_column_hides_another_of_its_name(storage):
    assert run_query(storage, "SELECT 1 AS a, 2 AS a, 3 AS b, 4 AS a").to_pylist() == [
        {"a": 1, "a_1": 2, "b": 3, "a_2": 4}
    ]


def test_names_that_are_nearly_right_are_proposed(storage):
    import lance

    lance.write_dataset(pa.table({"clip_id": ["a"]}), storage.uri("tables/clips.lance"))
    for sql, said in (
        ("SELECT clipid FROM clips", '"clip_id"'),
        ("SELECT c.clipid FROM clips c", "did you mean 'clip_id'"),
        ("SELECT * FROM clps", 'Did you mean "clips"'),
    ):
        with pytest.raises(QueryError, match=said):
            run_query(storage, sql)


@pytest.mark.parametrize("output", ["rows.json", "s3://bucket/rows.CSV", "https://host/rows.parquet?signature=x.json"])
def test_a_name_says_the_format(output):
    assert format_of(output) == output.split("?")[0].lower().rpartition(".")[2]


def test_rows_go_to_a_file_whole_or_not_at_all(tmp_path):
    Storage(str(tmp_path)).write("curate.yaml", b"")

    def query(*arguments: str):
        return CliRunner().invoke(app, ["query", *arguments, "--root", str(tmp_path)])

    target = tmp_path / "new" / "rows.parquet"
    said = query("SELECT 1 AS a", "--output", str(target), "--json")
    assert strict(said.stdout) == {"output": str(target), "rows": 1}
    assert pq.read_table(target).to_pylist() == [{"a": 1}]
    assert query("SELECT interval '1 day' AS a", "--output", str(target)).exit_code == 2
    assert pq.read_table(target).to_pylist() == [{"a": 1}]
    assert query("SELECT 1 AS a", "--csv").stdout == '"a"\n1\n'
    for wrong in (["--csv", "--json"], ["--parquet"], ["--output", "rows.txt"]):
        assert query("SELECT 1 AS a", *wrong).exit_code == 2

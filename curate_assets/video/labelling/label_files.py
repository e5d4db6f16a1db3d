"""Labels in files of other programs: CSV with a head, or JSON lines, with `clip_id` and `label` in each row."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from curate_assets.video.labelling.kept_labels import Said
from gpu_kernels.errors import UserError

COLUMNS = ("clip_id", "label")
_NUMBERS: Mapping[str, Said] = {"1": "keep", "0": "reject", "1.0": "keep", "0.0": "reject"}
"""Data frames with rows that have no label write them as floats."""
_WORDS: Mapping[str, Said] = {**{word: word for word in get_args(Said)}, **_NUMBERS}


def read_labels(name: str, data: bytes) -> dict[str, Said]:
    """What is said of each clip in a file; rows without a label are left out, and other columns do not matter.

    Raises:
        UserError: it is no such file, a label is none, or a clip has two different ones; the line is named.
    """
    try:
        text = data.decode("utf-8-sig")
        rows = _json_rows(text) if name.endswith((".jsonl", ".ndjson")) else _csv_rows(text)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{name} is neither CSV nor JSON lines: {error}") from error
    found: dict[str, Said] = {}
    for number, row in rows:
        clip, word = (row.get(column) for column in COLUMNS)
        if word is None or str(word).strip() == "":
            continue
        said = _WORDS.get(str(word).strip().lower())
        if not isinstance(clip, str) or not clip:
            raise UserError(f"{name}, line {number}: it has no clip_id")
        if said is None:
            raise UserError(f"{name}, line {number}: {word!r} is no label: write keep, reject or unsure, or 1 or 0")
        if found.setdefault(clip, said) != said:
            raise UserError(f"{name}, line {number}: {clip} has two different labels")
    return found


def written_rows(name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Rows as the name of their file has it: `.jsonl`, or else CSV."""
    if name.endswith((".jsonl", ".ndjson")):
        return "".join(f"{json.dumps(dict(row))}\n" for row in rows).encode()
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def _csv_rows(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    table = csv.DictReader(io.StringIO(text))
    if missing := set(COLUMNS) - set(table.fieldnames or ()):
        raise ValueError(f"its first line does not name the column {sorted(missing)[0]}")
    return [(table.line_num, row) for row in table]


def _json_rows(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        row = json.loads(line) if line.strip() else {}
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no object")
        rows.append((number, row))
    return rows

"""Lists of clips below the root that `clip_selection.only` can name.

A list's name ends in a digest of its content: rows that were made by it hold as long as the name does, so what is in it
may never change.
"""

import csv
import hashlib
import io
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curate_resources.storage.root import Storage
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.strict import StrictModel

FOLDER = "selections"
COLUMNS = ("clip_id", "value")
NOT_LISTED = "not_listed"
"""The reason against a clip that is not on the list."""
_DIGITS = 12


class OnlyListed(StrictModel):
    """Which clips may be selected at all."""

    only: str | None = Field(default=None, pattern=rf"^[A-Za-z0-9._-]+-[0-9a-f]{{{_DIGITS}}}$")
    """A list of clips that `curate sample` wrote; all others are rejected. See [balance](balance.md#chosen-clips)."""

    unless_default = frozenset({"only"})


def write_list(storage: Storage, title: str, clips: Sequence[str], values: Sequence[float | None]) -> str:
    """Write a list, and give the name that it has.

    Args:
        title: what the name begins with, such as `diverse-500`.
        values: what each clip was chosen by.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows((clip, "" if value is None else f"{value:.6f}") for clip, value in zip(clips, values, strict=True))
    data = text.getvalue().encode()
    name = f"{title}-{_digest(data)}"
    storage.write(path_of(name), data)
    return name


def path_of(name: str) -> str:
    """Where a list lies, below the root."""
    return f"{FOLDER}/{name}.csv"


def listed_clips(storage: Storage, name: str | None) -> frozenset[str] | None:
    """The clips of a list; None: no list is named, and all clips may be selected.

    Raises:
        NotThere: there is no such list.
        UserError: it was changed.
    """
    if name is None:
        return None
    path = path_of(name)
    if not storage.exists(path):
        there = ", ".join(each.removesuffix(".csv") for each in storage.files(FOLDER)) or "none"
        raise NotThere(f"clip_selection.only: there is no {storage.uri(path)}; lists: {there}")
    data = storage.read(path)
    if name.rpartition("-")[2] != _digest(data):
        raise UserError(
            f"clip_selection.only: {storage.uri(path)} was changed since it was written; "
            f"`curate sample --from {storage.uri(path)}` makes a list of what is in it now"
        )
    return frozenset(clips_in(path, data))


def clips_in(name: str, data: bytes) -> list[str]:
    """The clips that a file lists in its column `clip_id`, each once, in order.

    Raises:
        UserError: it is no CSV with such a column, or lists nothing.
    """
    try:
        table = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
        if "clip_id" not in (table.fieldnames or ()):
            raise UserError(f"{name}: its first line does not name the column clip_id")
        found = dict.fromkeys(row["clip_id"] for row in table if row["clip_id"])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{name} is no CSV: {error}") from error
    if not found:
        raise UserError(f"{name} lists no clip")
    return [*found]


def is_listed(clips: Sequence[str], listed: frozenset[str] | None) -> NDArray[np.bool_]:
    """Which clips may be selected, bool [n]."""
    return np.array([listed is None or clip in listed for clip in clips], bool)


def title_of(text: str) -> str:
    """A text as names of lists have it."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-") or "list"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]

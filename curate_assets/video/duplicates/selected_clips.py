"""The selected clips of all shards as columns, and what each was measured on."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.errors import UserError

Strings: TypeAlias = pa.ChunkedArray
"""A column of text."""


@dataclass(frozen=True)
class SelectedClips:
    """The selected clips of all shards. A clip's place is its row.

    Attributes:
        rows: `shard`, `video_id` and `clip_id`, sorted by them. Two shards may hold the same file, and so the
            same clip.
    """

    rows: pa.Table
    _measured: dict[str, Strings] = field(default_factory=dict[str, Strings], compare=False, repr=False)

    @classmethod
    def of(cls, tables: Tables, shards: Collection[str] | None = None) -> "SelectedClips":
        """Of some shards; None: of all."""
        columns = ["shard", "video_id", "clip_id"]
        found = columns_of(tables, CLIP_SELECTION, columns, "status = 'ok' AND selected", shards)
        return cls(found.sort_by([(name, "ascending") for name in columns]))

    def __len__(self) -> int:
        return self.rows.num_rows

    @cached_property
    def shards(self) -> dict[str, range]:
        """The places of each shard's clips."""
        encoded = self.rows["shard"].combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        bounds = np.searchsorted(encoded.indices.to_numpy(), np.arange(len(names) + 1)).tolist()
        return {name: range(bounds[index], bounds[index + 1]) for index, name in enumerate(names)}

    @cached_property
    def names(self) -> Strings:
        """Shard and id of each, with a slash between them."""
        return _joined(self.rows["shard"], self.rows["clip_id"])

    @cached_property
    def _videos(self) -> Strings:
        return _joined(self.rows["shard"], self.rows["video_id"])

    def places(self, shard: Strings, clip_id: Strings) -> NDArray[np.int64]:
        """Where clips are; -1 for those that are not selected. Looks at the clips of their shards alone."""
        spans = [self.shards.get(name, range(0)) for name in shard.unique().to_pylist()]
        if sum(map(len, spans)) == len(self):
            return _where(_joined(shard, clip_id), self.names)
        among = np.concatenate([np.zeros(0, np.int64), *(np.arange(span.start, span.stop) for span in spans)])
        there = self.rows.take(pa.array(among))
        found = _where(_joined(shard, clip_id), _joined(there["shard"], there["clip_id"]))
        return np.append(among, -1)[found]

    def rows_within(self, shards: Sequence[str], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where clips of some shards are among those of these shards, in the order in which they are given."""
        begins = np.array([self.shards[shard].start for shard in shards])
        counts = np.array([len(self.shards[shard]) for shard in shards])
        order = np.argsort(begins)
        which = order[np.searchsorted(begins[order], places, "right") - 1]
        return (np.cumsum(counts) - counts)[which] + places - begins[which]

    def measured(self, tables: Tables, table: Table, shards: Collection[str] | None = None) -> Strings:
        """Of every clip, the fingerprint of the row of a table that is about it, or about its video; null without a
        row that holds a result.

        Args:
            shards: those whose rows are looked at; None: all, as they were when this was first asked.
        """
        if shards is None and table.name in self._measured:
            return self._measured[table.name]
        of_clips = table.has("clip_id")
        key = "clip_id" if of_clips else "video_id"
        rows = columns_of(tables, table, ["shard", key, "fingerprint"], "status = 'ok'", shards)
        places = _where(self.names if of_clips else self._videos, _joined(rows["shard"], rows[key]))
        found = rows["fingerprint"].take(pa.array(places, mask=places < 0))
        if shards is None:
            self._measured[table.name] = found
        return found


def unchanged(rows: pa.Table, places: NDArray[np.int64], measured: Strings) -> NDArray[np.int64]:
    """Which rows are still those whose fingerprints were read before, in the order of their clips' places: what changed
    meanwhile is left to whoever changed it, and measures it after that.

    Args:
        places: int64 [rows], of the clips that they are about; -1 for none.
    """
    now = pc.equal(rows["fingerprint"], measured.take(pa.array(places, mask=places < 0)))  # pyright: ignore[reportAttributeAccessIssue]
    same = np.flatnonzero(pc.fill_null(now, False).to_numpy())
    return same[np.argsort(places[same], kind="stable")]


class MixedModels(UserError):
    """Embeddings of several models cannot be compared."""


def one_model(tables: Tables) -> str:
    """The model and revision of all embeddings; empty when there are none.

    Raises:
        MixedModels: shards were embedded by different models.
    """
    columns = ["shard", "model", "model_revision"]
    rows = columns_of(tables, CLIP_EMBEDDINGS, columns, "status = 'ok'")
    found = rows.group_by(["model", "model_revision"]).aggregate([("shard", "count_distinct"), ("shard", "min")])
    each = {f"{row['model']}@{row['model_revision']}": row for row in found.to_pylist()}
    if len(each) > 1:
        said = [
            f"{model} in {row['shard_count_distinct']} shards, such as {row['shard_min']}"
            for model, row in sorted(each.items())
        ]
        raise MixedModels(
            f"shards were embedded by different models ({'; '.join(said)}): "
            f"`curate materialize --select {tables.named(CLIP_EMBEDDINGS.name)}` without --shard"
        )
    return next(iter(each), "")


def one_length(tables: Tables, lengths: Collection[int]) -> None:
    """See that vectors that are compared have one length. Where they have not, a server said of two models that they
    are one.

    Raises:
        MixedModels: they have several.
    """
    if len({*lengths}) > 1:
        name = tables.named(CLIP_EMBEDDINGS.name)
        said = " and ".join(str(length) for length in sorted({*lengths}))
        raise MixedModels(
            f"vectors in {name} have {said} numbers, though all are said to be of one model: make all by one, under a "
            f"new {name}.revision"
        )


def matrix_of(tables: Tables, vectors: pa.Array | pa.ChunkedArray) -> NDArray[np.float32]:
    """Vectors that are compared, [n, d].

    Raises:
        MixedModels: as `one_length`.
    """
    one_length(tables, pc.call_function("list_value_length", [vectors]).unique().to_pylist())
    return pc.call_function("list_flatten", [vectors]).to_numpy().reshape(len(vectors), -1)


def columns_of(
    tables: Tables, table: Table, columns: list[str], where: str, shards: Collection[str] | None = None
) -> pa.Table:
    """Columns of the rows that a condition holds for, in no order."""
    if shards is not None:
        where = f"({where}) AND {one_of('shard', shards)}"
    batches = list(tables.batches(table, columns, where))
    return pa.Table.from_batches(batches, pa.schema([table.schema.field(name) for name in columns]))


def looked_up(rows: pa.Table, among: pa.Table, key: str) -> NDArray[np.int64]:
    """For every row, which one of others has its shard and key; -1 where there is none."""
    return _where(_joined(rows["shard"], rows[key]), _joined(among["shard"], among[key]))


def digest(value: Any) -> str:
    """Of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _joined(shard: Strings, name: Strings) -> Strings:
    return pc.binary_join_element_wise(shard, name, "/")  # pyright: ignore[reportAttributeAccessIssue]


def _where(wanted: Strings, known: Strings) -> NDArray[np.int64]:
    found = pc.index_in(wanted, value_set=known.combine_chunks())  # pyright: ignore[reportAttributeAccessIssue]
    return pc.fill_null(found, -1).to_numpy().astype(np.int64)

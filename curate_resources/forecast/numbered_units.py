"""The units of many shards by number, and which rows are theirs."""

from collections.abc import Collection, Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa

from curate_resources.declarations.units import UnitTable
from curate_resources.sources.manifests import Manifest, place_of


class NumberedUnits:
    """The units that manifests list, numbered from 0, each in one shard.

    Attributes:
        shard_of: by number.
        apart: shards that have a file or content in common with one before them: rows are told apart by these. None of
            their units has a number.
        uris: by place, as the manifests have them now.
    """

    def __init__(self, manifests: Sequence[Manifest], curated: UnitTable, stored: pa.Table) -> None:
        """Args:
        stored: what is stored of the units: shard, place, id, status.
        """
        self._curated = curated
        self.shard_of: list[str] = []
        self.apart: list[str] = []
        self.uris: dict[str, str] = {}
        self._number_of: dict[str, int] = {}
        """By URI, by place and by id."""
        ids: dict[str, dict[str, str]] = {}
        for row in stored.to_pylist():
            # An exact copy has the id of another file, but that file's rows are not its own.
            if row["status"] != "empty" and row[curated.id] is not None:
                ids.setdefault(row["shard"], {})[place_of(row[curated.place])] = row[curated.id]
        for manifest in manifests:
            self._add(manifest, ids.get(manifest.shard, {}))

    def _add(self, manifest: Manifest, ids: dict[str, str]) -> None:
        keys = [{entry.place, ids.get(entry.place)} - {None} for entry in manifest.entries]
        if any(key in self._number_of for own in keys for key in own):
            self.apart.append(manifest.shard)
            return
        for entry, own in zip(manifest.entries, keys, strict=True):
            self._number_of |= {key: len(self.shard_of) for key in (entry.uri, *own) if key is not None}
            self.shard_of.append(manifest.shard)
            self.uris[entry.place] = entry.uri

    @property
    def all(self) -> range:
        """All numbers."""
        return range(len(self.shard_of))

    def of(self, rows: pa.Table) -> list[Any]:
        """The numbers of the units that rows belong to; None where there is none."""
        return list(map(self._number_of.get, rows[self._curated.column_of(rows.column_names)].to_pylist()))

    def only(self, rows: pa.Table, units: Collection[int]) -> pa.Table:
        """The rows of some units."""
        return rows.filter(pa.array([number in units for number in self.of(rows)], pa.bool_()))

    def parted(self, rows: pa.Table, parts: Sequence[Collection[int]]) -> list[pa.Table]:
        """`only` each of several parts of the units, which have none in common; all of them in one pass."""
        part_of = {number: index for index, part in enumerate(parts) for number in part}
        places: list[list[int]] = [[] for _ in parts]
        for place, number in enumerate(self.of(rows)):
            if (part := part_of.get(number)) is not None:
                places[part].append(place)
        taken = rows.take(pa.array(list(chain.from_iterable(places)), pa.int64()))
        ends = accumulate(map(len, places))
        return [taken.slice(end - len(own), len(own)) for own, end in zip(places, ends, strict=True)]

    def owned(self, rows: pa.Table, without: Collection[str]) -> pa.Table:
        """Rows that belong to units of their own shards, but for some shards; others are left from files that
        changed."""
        owned = [
            number is not None and self.shard_of[number] == shard and shard not in without
            for number, shard in zip(self.of(rows), rows["shard"].to_pylist(), strict=True)
        ]
        return rows if all(owned) else rows.filter(pa.array(owned, pa.bool_()))

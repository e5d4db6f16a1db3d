"""Shard manifests: which units a partition holds. Written before the partition's key is registered.

A shard is closed when it is written: later files go to new shards. Only the entry of a file that changed in place is
replaced, in its own shard, so that keys never change and nothing else is recomputed.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curate_resources.declarations.table import Column, Table
from curate_resources.sources.unit_listing import FoundUnit
from curate_resources.sources.zip_archives import FOLDER
from curate_resources.storage import web_files
from curate_resources.storage.own_files import mark
from curate_resources.storage.root import Storage, is_local
from curate_resources.suggestions import did_you_mean
from gpu_kernels.errors import UserError

_AT_ONCE = 32
"""How many manifests are fetched from a bucket at the same time."""
_UNPACKED = re.compile(rf"(?<=/){FOLDER}/[0-9a-f]{{32}}/.+$", re.DOTALL)

_FILE = pa.struct([("role", pa.string()), ("uri", pa.string()), ("bytes", pa.int64()), ("version", pa.string())])

MANIFEST = Table(
    name="manifest",
    grain="file",
    keys=("uri",),
    columns=(
        Column("uri", pa.string()),
        Column("place", pa.string()),
        Column("bytes", pa.int64()),
        Column("version", pa.string()),
        Column("files", pa.list_(_FILE)),
    ),
    identity=("place", "bytes", "version"),
    description="The units of a shard.",
)
"""Not a stored table: the rows that a shard's manifest file stands for."""


class Member(BaseModel):
    """A file of a unit that is a folder, in a role; `version` changes when the file does."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: str
    uri: str
    bytes: int = Field(ge=0)
    version: str


class Entry(BaseModel):
    """One unit: a file, or a folder with `files`. `version` changes when it does; a file's is its times of change, or
    its ETag in a bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    uri: str
    bytes: int = Field(ge=0)
    version: str
    files: tuple[Member, ...] = ()

    @property
    def place(self) -> str:
        """What tells it from other units."""
        return place_of(self.uri)

    def same_file(self, other: "Entry") -> bool:
        """Whether nothing changed but the signature of a URL."""
        return (self.place, self.bytes, self.version) == (other.place, other.bytes, other.version)


def place_of(uri: str) -> str:
    """What tells files apart: a URL without its query, so that a renewed signature is no other file; of what was
    unpacked from a ZIP its path below the root, so that a root that was moved does not get it twice."""
    if (unpacked := _UNPACKED.search(uri)) is not None:
        return unpacked[0]
    return uri.partition("?")[0] if web_files.is_web(uri) else uri


class Manifest(BaseModel):
    """The units of one shard, sorted by URI; `preset` names the settings that its rows are made with, if not all
    those of the root."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    shard: str
    preset: str | None = None
    entries: tuple[Entry, ...]


class ManifestError(UserError):
    """A manifest that is missing or cannot be read."""


def rows_of(manifests: Iterable[Manifest]) -> pa.Table:
    """The entries of manifests as rows of MANIFEST."""
    entries = [
        {**entry.model_dump(), "place": entry.place, "shard": manifest.shard, "status": "ok", "fingerprint": ""}
        for manifest in manifests
        for entry in manifest.entries
    ]
    return pa.Table.from_pylist(entries, schema=MANIFEST.rows_schema)


@dataclass(frozen=True)
class Manifests:
    """The manifests under a root, one JSON file per shard."""

    storage: Storage

    def shards(self) -> list[str]:
        """All shard keys, sorted."""
        return [name.removesuffix(".json") for name in self.storage.files("manifests") if name.endswith(".json")]

    def matching(self, chosen: Sequence[str]) -> list[str]:
        """The shards that any of some choices names, sorted: a key, a range `first..last` of sorted keys with both its
        ends, or a pattern as of a shell.

        Raises:
            ManifestError: one of them names none.
        """
        known = self.shards()
        found: set[str] = set()
        for choice in chosen:
            first, between, last = choice.partition("..")
            named = {key for key in known if (first <= key <= last if between else fnmatchcase(key, choice))}
            if not named:
                hint = did_you_mean(choice, known) or f": {_some(known)}"
                raise ManifestError(f"there is no shard {choice!r} under {self.storage.root}{hint}")
            found |= named
        return sorted(found)

    def chosen(self, chosen: Sequence[str] | None) -> list[str]:
        """The shards that some choices name, as `matching`; all where there is no choice.

        Raises:
            ManifestError: there are none, or none of a name.
        """
        known = self.shards()
        if not known:
            raise ManifestError(f"there are no shards under {self.storage.root}: `curate add <folder>` makes them")
        return self.matching(chosen) if chosen else known

    def load(self, shard: str) -> Manifest:
        """One shard's manifest.

        Raises:
            ManifestError: it is not there, or no manifest.
        """
        path = f"manifests/{shard}.json"
        try:
            return Manifest.model_validate_json(self.storage.read(path))
        except FileNotFoundError as error:
            raise ManifestError(
                f"there is no shard {shard!r} under {self.storage.root}: `curate add` makes shards; "
                "--root or CURATE_ROOT name another root"
            ) from error
        except ValidationError as error:
            raise ManifestError(f"{self.storage.uri(path)} is not a manifest: {error}") from error

    def load_all(self, shards: Iterable[str]) -> Iterator[Manifest | ManifestError]:
        """The manifests of many shards, in order; from a bucket many at a time. One that is missing or damaged comes as
        its error."""

        def loaded(shard: str) -> Manifest | ManifestError:
            try:
                return self.load(shard)
            except ManifestError as error:
                return error

        if is_local(self.storage.root):
            yield from map(loaded, shards)
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            rest = iter(shards)
            while some := list(islice(rest, 8 * _AT_ONCE)):
                yield from pool.map(loaded, some)

    def all(self) -> Iterator[Manifest]:
        """Every manifest.

        Raises:
            ManifestError: one of them cannot be read.
        """
        for manifest in self.load_all(self.shards()):
            if isinstance(manifest, ManifestError):
                raise manifest
            yield manifest

    def next_ordinal(self, name: str, shards: Sequence[str] | None = None) -> int:
        """The number of the next shard of a series; `shards` are those that there are, if they were listed before."""
        known = self.shards() if shards is None else shards
        taken = [re.fullmatch(rf"{re.escape(name)}-(\d+)", shard) for shard in known]
        return 1 + max((int(match[1]) for match in taken if match), default=-1)

    def close(self, series: str, first: int, runs: Iterable[Sequence[Entry]], preset: str | None) -> dict[str, int]:
        """Put runs of files into a new shard each, of the first numbers from `first` on that nobody else takes; returns
        counts of files by shard. What others have put into such a shard meanwhile is left out of the next ones: so no
        file is lost, and none is in two shards.
        """
        made: dict[str, int] = {}
        number = first
        for run in runs:
            left = list(run)
            while left:
                shard = f"{series}-{number:06d}"
                number += 1
                if self.create(Manifest(shard=shard, preset=preset, entries=tuple(left))):
                    made[shard] = len(left)
                    break
                taken = {entry.place for entry in self.load(shard).entries}
                left = [entry for entry in left if entry.place not in taken]
        return made

    def write(self, manifest: Manifest) -> None:
        """Store a shard's manifest, whole or not at all."""
        mark(self.storage)
        self.storage.write(f"manifests/{manifest.shard}.json", _text(manifest))

    def create(self, manifest: Manifest) -> bool:
        """Store the manifest of a new shard, unless there is one of that name; whether it was stored."""
        mark(self.storage)
        return self.storage.create(f"manifests/{manifest.shard}.json", _text(manifest))


def _text(manifest: Manifest) -> bytes:
    return json.dumps(manifest.model_dump(exclude_defaults=True), indent=1, ensure_ascii=False).encode()


def _some(shards: Sequence[str]) -> str:
    shown = ", ".join(shards[:5])
    return f"the shards are {shown}{', ...' if len(shards) > 5 else ''}" if shards else "`curate add` makes shards"


def entry_of(unit: FoundUnit, uri: Callable[[str], str]) -> Entry:
    """The entry of a unit; `uri` makes URIs of the paths that it was listed with."""
    files = tuple(
        Member(role=role, uri=uri(each.path), bytes=each.bytes, version=each.version) for role, each in unit.members
    )
    return Entry(uri=uri(unit.path), bytes=unit.found.bytes, version=unit.found.version, files=files)


def bounded(entries: Iterable[Entry], count: int, size: int) -> Iterator[list[Entry]]:
    """Runs of at most `count` entries and `size` bytes; a single larger one is a run of its own."""
    run: list[Entry] = []
    for entry in entries:
        if run and (len(run) == count or sum(e.bytes for e in run) + entry.bytes > size):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run

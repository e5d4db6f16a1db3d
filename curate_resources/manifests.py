"""Shard manifests: which source videos a partition holds. Written before the partition's key is registered.

A shard is closed when it is written: later files go to new shards. Only the entry of a file that changed in place is
replaced, in its own shard, so that keys never change and nothing else is recomputed.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import PurePosixPath

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curate_resources import object_stores, web_files
from curate_resources.content import on_disk
from curate_resources.listing import nameable
from curate_resources.stage import Table
from curate_resources.storage import Storage, is_local, local_path
from curate_resources.suggestions import did_you_mean
from curate_resources.zip_sources import is_zip, unpack
from gpu_kernels.errors import NotThere, UserError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .mpe .ts .mts .m2ts .m2v .flv .f4v .wmv .asf .ogv .ogg .mxf .3gp .3g2 "
    ".h264 .264 .h265 .265 .hevc .ivf .y4m .nut .dv .rm .rmvb .vob .wtv .gif .mjpeg .mjpg".split()
)

_AT_ONCE = 32
"""So many manifests are fetched from a bucket at the same time."""

MANIFEST = Table(
    name="manifest",
    grain="file",
    keys=("uri",),
    columns=pa.schema([("uri", pa.string()), ("place", pa.string()), ("bytes", pa.int64()), ("version", pa.string())]),
    identity=("place", "bytes", "version"),
    description="The files of a shard.",
)
"""Not a stored table: the rows that a shard's manifest file stands for."""


class Entry(BaseModel):
    """One file: `version` changes when the file does; it is its times of change, or an object's ETag."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    uri: str
    bytes: int = Field(ge=0)
    version: str

    @property
    def place(self) -> str:
        """What tells it from other files."""
        return place_of(self.uri)

    def same_file(self, other: "Entry") -> bool:
        """Whether nothing changed but the signature of a URL."""
        return (self.place, self.bytes, self.version) == (other.place, other.bytes, other.version)


def place_of(uri: str) -> str:
    """What tells files apart: a URL without its query, so that a renewed signature is no other file."""
    return uri.partition("?")[0] if web_files.is_web(uri) else uri


class Manifest(BaseModel):
    """The files of one shard, sorted by URI; `preset` names the settings that its rows are made with, if not all
    those of the root."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    shard: str
    preset: str | None = None
    entries: tuple[Entry, ...]


class ManifestError(UserError):
    """A manifest that is missing or cannot be read."""


@dataclass(frozen=True)
class Added:
    """What `add` did: shards that are new, shards with a changed file, and counts of files. `renewed_files` are URLs
    with another signature; they are among the known ones."""

    new_shards: tuple[str, ...]
    changed_shards: tuple[str, ...]
    new_files: int
    changed_files: int
    known_files: int
    renewed_files: int
    ignored_files: int


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
                f"there is no shard {shard!r} under {self.storage.root}: `curate add` makes shards"
            ) from error
        except ValidationError as error:
            raise ManifestError(f"{self.storage.uri(path)} is no manifest: {error}") from error

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

    def add(
        self, source: str, name: str, videos_per_shard: int, bytes_per_shard: int, preset: str | None = None
    ) -> Added:
        """Put the videos under a folder or URI, or in a ZIP, into shards; only new and changed files make a difference.

        Args:
            preset: of the new shards; those that are there keep their own.

        Raises:
            NotThere: there is nothing at `source`.
            ZipRefused: it is a ZIP that is damaged or hostile.
        """
        found, ignored = self._zipped_videos(source) if is_zip(source) else _videos(source)
        sought = {entry.place: entry for entry in found}
        known: set[str] = set()
        fresh: set[str] = set()
        changed: set[str] = set()
        changed_shards: list[str] = []
        for manifest in self.all():
            entries = tuple(sought.get(entry.place, entry) for entry in manifest.entries)
            pairs = [pair for pair in zip(entries, manifest.entries, strict=True) if pair[0].place in sought]
            known.update(new.place for new, _ in pairs)
            fresh.update(new.place for new, old in pairs if new != old)
            others = {new.place for new, old in pairs if not new.same_file(old)}
            if others:
                changed |= others
                changed_shards.append(manifest.shard)
            if entries != manifest.entries:
                self.write(manifest.model_copy(update={"entries": entries}))
        new = [entry for entry in found if entry.place not in known]
        new_shards: list[str] = []
        ordinal = self.next_ordinal(name)
        for entries in bounded(new, videos_per_shard, bytes_per_shard):
            new_shards.append(f"{name}-{ordinal:06d}")
            self.write(Manifest(shard=new_shards[-1], preset=preset, entries=tuple(entries)))
            ordinal += 1
        return Added(
            tuple(new_shards),
            tuple(changed_shards),
            len(new),
            len(changed),
            len(found) - len(new) - len(changed),
            len(fresh) - len(changed),
            ignored,
        )

    def _zipped_videos(self, source: str) -> tuple[list[Entry], int]:
        unpacked = unpack(self.storage, source, VIDEO_SUFFIXES)
        entries = [
            Entry(uri=self.storage.uri(video.path), bytes=video.bytes, version=f"crc32 {video.crc:08x}")
            for video in unpacked.videos
        ]
        return entries, unpacked.others

    def next_ordinal(self, name: str, shards: Sequence[str] | None = None) -> int:
        """The number of the next shard of a series; `shards` are those that there are, if they were listed before."""
        known = self.shards() if shards is None else shards
        taken = [re.fullmatch(rf"{re.escape(name)}-(\d+)", shard) for shard in known]
        return 1 + max((int(match[1]) for match in taken if match), default=-1)

    def write(self, manifest: Manifest) -> None:
        """Store a shard's manifest, whole or not at all."""
        self.storage.write(f"manifests/{manifest.shard}.json", _text(manifest))

    def create(self, manifest: Manifest) -> bool:
        """Store the manifest of a new shard, unless there is one of that name; whether it was stored."""
        return self.storage.create(f"manifests/{manifest.shard}.json", _text(manifest))


def _text(manifest: Manifest) -> bytes:
    return json.dumps(manifest.model_dump(exclude_none=True), indent=1, ensure_ascii=False).encode()


def _some(shards: Sequence[str]) -> str:
    shown = ", ".join(shards[:5])
    return f"the shards are {shown}{', ...' if len(shards) > 5 else ''}" if shards else "`curate add` makes shards"


def shard_name(source: str) -> str:
    """A shard name from the last part of a folder's path: lower case, letters, digits and dashes."""
    last = PurePosixPath(place_of(source).rstrip("/").split("://")[-1]).name.removesuffix(".zip")
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-") or "videos"


@dataclass(frozen=True)
class _File:
    path: str
    bytes: int
    version: str


def _videos(source: str) -> tuple[list[Entry], int]:
    files = list(_local_files(source) if is_local(source) else _remote_files(source))
    videos = [file for file in files if PurePosixPath(place_of(file.path)).suffix.lower() in VIDEO_SUFFIXES]
    entries = [Entry(uri=file.path, bytes=file.bytes, version=file.version) for file in videos if nameable(file.path)]
    return sorted(entries, key=lambda entry: entry.uri), len(files) - len(videos)


def _local_files(source: str) -> Iterator[_File]:
    """Links are followed, but every folder is entered once: they may go round in circles."""
    path = local_path(source)
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise _nothing_at(source)
    entered = {os.path.realpath(path)}
    paths = [path] if os.path.isfile(path) else []
    for folder, folders, names in [] if paths else os.walk(path, onerror=_raised, followlinks=True):
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in sorted(folders)}
        folders[:] = [name for name in real if real[name] not in entered and not entered.add(real[name])]
        paths += [os.path.join(folder, name) for name in names]
    for path in paths:
        if os.path.isfile(path):
            about = on_disk(path)
            yield _File(path, about.bytes, about.version)


def _raised(error: OSError) -> None:
    raise error


def _remote_files(source: str) -> Iterator[_File]:
    if web_files.is_web(source):
        about = object_stores.stat(source)
        yield _File(source, about.bytes, about.version)
        return
    bucket = "/".join(source.split("/", 3)[:3])
    found = list(object_stores.listed(source))
    if not found:
        try:
            found = [object_stores.stat(source)]
        except FileNotFoundError as error:
            raise _nothing_at(source) from error
    for each in found:
        yield _File(f"{bucket}/{each.path}", each.bytes, each.version)


def _nothing_at(source: str) -> NotThere:
    return NotThere(f"{source} does not exist: give a folder, a file, or a URI such as s3://bucket/prefix")


def bounded(entries: Iterable[Entry], count: int, size: int) -> Iterator[list[Entry]]:
    """Runs of entries of at most `count` files and `size` bytes; a single larger file is a run of its own."""
    run: list[Entry] = []
    for entry in entries:
        if run and (len(run) == count or sum(e.bytes for e in run) + entry.bytes > size):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run

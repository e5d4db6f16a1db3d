"""Adding what lies at a source: its units go into new shards; what changed or is gone is seen to in earlier ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from curate_resources.declarations.units import UnitFiles
from curate_resources.sources.listing import EMPTY, OTHER, LeftOut, found_at
from curate_resources.sources.manifests import Entry, Manifests, bounded, entry_of, place_of
from curate_resources.sources.unit_listing import units
from curate_resources.sources.zip_archives import is_zip, unpack
from curate_resources.storage import web_files
from curate_resources.storage.own_files import check_source
from curate_resources.storage.root import Storage, is_local, local_path
from curate_resources.storage.stored_object import StoredObject
from gpu_kernels.errors import NotThere, UserError

_SHOWN = 5


class NoUnits(UserError):
    """There is something at a source, and nothing that is curated."""


@dataclass(frozen=True)
class Added:
    """What adding did.

    Attributes:
        new_shards, changed_shards: shards that were made, and those with a file that changed or was forgotten.
        renewed_files: URLs with another signature; they are among the known ones.
        ignored_files: how many are no sources, `left_out` says why: counts by what such files are called.
        first_left_out: some of them, files of other kinds aside, by the same.
        gone_files: files of earlier shards that are at the source no more; `first_gone` are some.
    """

    new_shards: tuple[str, ...]
    changed_shards: tuple[str, ...]
    new_files: int
    changed_files: int
    known_files: int
    renewed_files: int
    ignored_files: int
    left_out: dict[str, int]
    first_left_out: dict[str, tuple[str, ...]]
    gone_files: int
    first_gone: tuple[str, ...]


def add_units(
    manifests: Manifests,
    source: str,
    name: str,
    units_per_shard: int,
    bytes_per_shard: int,
    files: UnitFiles,
    preset: str | None = None,
    forget_gone: bool = False,
) -> Added:
    """Put the units under a folder or URI, or in a ZIP, into shards; only new and changed ones make a difference.

    Args:
        manifests: of the root that they are added to.
        files: which files make a unit.
        preset: of the new shards; those that are there keep their own.
        forget_gone: take files that are gone out of their shards; else they stay. The source itself may be gone.

    Raises:
        NotThere: there is nothing at `source`.
        NoUnits: there is no unit.
        UserError: it is a root of Curate Graph, or what was written below one.
        ZipRefused: it is a ZIP that is damaged or hostile.
    """
    check_source(source, manifests.storage.root)
    missing: NotThere | None = None
    try:
        found, left_out = _zipped(manifests.storage, source, files) if is_zip(source) else _listed(source, files)
    except NotThere as error:
        if not forget_gone:
            raise
        found, left_out, missing = [], [], error
    sought = {entry.place: entry for entry in found}
    seen = _Seen.at(source, left_out)
    known: set[str] = set()
    fresh: set[str] = set()
    changed: set[str] = set()
    changed_shards: list[str] = []
    gone: list[str] = []
    for manifest in manifests.all():
        lost = {entry.place for entry in manifest.entries if entry.place not in sought and seen.misses(entry)}
        gone += [entry.uri for entry in manifest.entries if entry.place in lost]
        kept = [entry for entry in manifest.entries if not (forget_gone and entry.place in lost)]
        entries = tuple(sought.get(entry.place, entry) for entry in kept)
        pairs = [pair for pair in zip(entries, kept, strict=True) if pair[0].place in sought]
        known.update(new.place for new, _ in pairs)
        fresh.update(new.place for new, old in pairs if new != old)
        others = {new.place for new, old in pairs if not new.same_file(old)}
        changed |= others
        if others or len(kept) < len(manifest.entries):
            changed_shards.append(manifest.shard)
        if entries != manifest.entries:
            manifests.write(manifest.model_copy(update={"entries": entries}))
    new = [entry for entry in found if entry.place not in known]
    runs = bounded(new, units_per_shard, bytes_per_shard)
    made = manifests.close(name, manifests.next_ordinal(name), runs, preset)
    new_files = sum(made.values())
    if not found and not (forget_gone and gone):
        raise missing or NoUnits(_no_units(source, files, left_out, gone))
    counts, first = _counted(left_out)
    return Added(
        tuple(made),
        tuple(changed_shards),
        new_files,
        len(changed),
        len(found) - new_files - len(changed),
        len(fresh) - len(changed),
        len(left_out),
        counts,
        first,
        len(gone),
        tuple(gone[:_SHOWN]),
    )


def _zipped(storage: Storage, source: str, files: UnitFiles) -> tuple[list[Entry], list[LeftOut]]:
    unpacked = unpack(storage, source, files)
    objects = [
        StoredObject(storage.uri(member.path), member.bytes, 0.0, f"crc32 {member.crc:08x}")
        for member in unpacked.members
    ]
    entries, left_out = _entries(sorted(objects, key=lambda each: each.path), files)
    return entries, [*unpacked.left_out, *left_out]


def _listed(source: str, files: UnitFiles) -> tuple[list[Entry], list[LeftOut]]:
    return _entries(found_at(source, files.takes), files)


def _entries(listing: Iterable[StoredObject | LeftOut], files: UnitFiles) -> tuple[list[Entry], list[LeftOut]]:
    """What paths that are URIs are of."""
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    for each in units(files, listing, lambda path: files.takes(place_of(path))):
        if isinstance(each, LeftOut):
            left_out.append(each)
        elif each.left_out is not None:
            left_out.append(LeftOut(each.path, each.left_out))
        elif not each.found.bytes:
            left_out.append(LeftOut(each.path, EMPTY))
        else:
            entries.append(entry_of(each, str))
    return sorted(entries, key=lambda entry: entry.uri), left_out


@dataclass(frozen=True)
class _Seen:
    """What of earlier shards should have been met at a source, and what was met and left out."""

    place: str
    below: str | None
    paths: frozenset[str]

    @classmethod
    def at(cls, source: str, left_out: Sequence[LeftOut]) -> "_Seen":
        whole = not web_files.is_web(source) and not is_zip(source)
        path = local_path(source) if is_local(source) else source.rstrip("/")
        below = f"{path.rstrip('/')}/" if whole else None
        return cls(place_of(path), below, frozenset(each.path for each in left_out))

    def misses(self, entry: Entry) -> bool:
        """Whether a file that was not found again is gone; not, if it or a folder above it was left out."""
        if entry.place != self.place and (self.below is None or not entry.uri.startswith(self.below)):
            return False
        return self.paths.isdisjoint((entry.uri, *map(str, PurePosixPath(entry.uri).parents)))


def _counted(left_out: Iterable[LeftOut]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    counts: dict[str, int] = {}
    first: dict[str, tuple[str, ...]] = {}
    for each in left_out:
        counts[each.reason] = counts.get(each.reason, 0) + 1
        if each.reason != OTHER and len(first.setdefault(each.reason, ())) < _SHOWN:
            first[each.reason] += (each.path,)
    return counts, first


def _no_units(source: str, files: UnitFiles, left_out: Sequence[LeftOut], gone: Sequence[str]) -> str:
    counts, _ = _counted(left_out)
    met = f": {', '.join(f'{count} {reason}' for reason, count in counts.items())}" if counts else ""
    lost = f"; {len(gone)} files of earlier shards are gone" if gone else ""
    return f"there are no {files.nouns} in {web_files.shown(source)}{met}{lost}; {files.described}"

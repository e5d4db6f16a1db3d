"""From listings to units: files by themselves, or the files of a folder together."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from curate_resources.declarations.units import UnitFiles
from curate_resources.sources.listing import OTHER, LeftOut, listed_in, stat_in, uri_of
from curate_resources.storage.root import is_local
from curate_resources.storage.stored_object import StoredObject

KNOWN_FOLDER = "files that came to a folder later"


@dataclass(frozen=True)
class FoundUnit:
    """A unit as it was listed, or a file that belongs to none.

    Attributes:
        found: its path, size, time of the last change and version; of a folder, those of all its files together.
        members: the files of a unit that is a folder; empty for a file.
        left_out: why it is no unit; None for units.
        last: everything up to this path has been given; None while that cannot be said.
    """

    found: StoredObject
    members: tuple[tuple[str, StoredObject], ...] = ()
    left_out: str | None = None
    last: str | None = None

    @property
    def path(self) -> str:
        """Of the file, or of the folder."""
        return self.found.path


def units(
    files: UnitFiles, listing: Iterable[StoredObject | LeftOut], takes: Callable[[str], bool], after: str = ""
) -> Iterator[FoundUnit | LeftOut]:
    """What was listed, in order, as units.

    Args:
        takes: whether a file is wanted, by its path.
        after: where the listing began. The folder that it began in was met before, and is not given again.
    """
    if files.roles:
        yield from _folders(files, listing, takes, after)
        return
    for each in listing:
        if isinstance(each, LeftOut):
            yield each
        else:
            yield FoundUnit(each, left_out=None if takes(each.path) else OTHER, last=each.path)


def _folders(
    files: UnitFiles, listing: Iterable[StoredObject | LeftOut], takes: Callable[[str], bool], after: str
) -> Iterator[FoundUnit | LeftOut]:
    open_folders: dict[str, list[tuple[str, StoredObject]]] = {}
    held: list[FoundUnit] = []
    before = after
    for each in listing:
        for folder in [folder for folder in open_folders if not inside(each.path, folder)]:
            held.append(_unit(files, folder, open_folders.pop(folder)))
        if held and not open_folders:  # all of a folder lies together in a listing
            yield from _with_last(held, before)
            held.clear()
        before = each.path
        if isinstance(each, LeftOut):
            yield each
            continue
        part = files.part(each.path) if takes(each.path) else None
        if part is None:
            yield FoundUnit(each, left_out=OTHER, last=None if open_folders else each.path)
        elif after and inside(after, part[0]):
            yield LeftOut(each.path, KNOWN_FOLDER)
        else:
            open_folders.setdefault(part[0], []).append((part[1], each))
    held += [_unit(files, folder, members) for folder, members in open_folders.items()]
    yield from _with_last(held, before)


def _unit(files: UnitFiles, folder: str, members: list[tuple[str, StoredObject]]) -> FoundUnit:
    there = {role for role, each in members if each.bytes}
    lacking = [name for name, role in files.roles.items() if role.needed and name not in there]
    named = [[role, each.path.removeprefix(folder).lstrip("/"), each.bytes, each.version] for role, each in members]
    whole = StoredObject(
        folder,
        sum(each.bytes for _, each in members),
        max(each.modified for _, each in members),
        hashlib.sha256(json.dumps(sorted(named)).encode()).hexdigest()[:32],
        all(each.pinned for _, each in members),
    )
    return FoundUnit(whole, tuple(sorted(members, key=_role_and_path)), files.incomplete if lacking else None)


def unit_at(files: UnitFiles, folder: str, path: str, takes: Callable[[str], bool]) -> FoundUnit:
    """What is known now of a unit that was listed in a folder.

    Raises:
        FileNotFoundError: it is gone.
    """
    if not files.roles:
        return FoundUnit(stat_in(folder, path), left_out=None if takes(path) else OTHER)
    for each in units(files, listed_in(path if is_local(folder) else uri_of(folder, path).rstrip("/")), takes):
        if isinstance(each, FoundUnit) and each.members and each.path == path:
            return each
    raise FileNotFoundError(path)


def _with_last(units: list[FoundUnit], last: str) -> Iterator[FoundUnit]:
    for index, unit in enumerate(units, 1):
        yield replace(unit, last=last) if index == len(units) else unit


def inside(path: str, folder: str) -> bool:
    """Whether a path is of what lies in a folder."""
    return not folder or path.startswith(f"{folder}/")


def _role_and_path(member: tuple[str, StoredObject]) -> tuple[str, str]:
    return member[0], member[1].path

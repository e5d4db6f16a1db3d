"""Finding new units at a source, a bounded piece at a time: from listings to shard manifests.

A *look* resumes listing where the previous one stopped, and closes shards in the order of the listing. Its place is
kept in `<root>/sources/<name>.json`, written after the manifests of the shards that it closed. A look that dies in
between leaves manifests that the place does not know of yet; the next one finds the same files again and skips those
that are in them. So no file is missed or in two shards, whenever it dies.

Files that are added behind the place, in alphabetical order, are not seen by looks; events name them, or the audit
finds them (curate_resources.sources.audit).
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from curate_resources.declarations.units import UnitFiles
from curate_resources.sources.declared import Source
from curate_resources.sources.event_intake import Intake, take_in
from curate_resources.sources.event_queue import EventQueue
from curate_resources.sources.known_files import KnownFiles
from curate_resources.sources.listing import OTHER, UNREADABLE, LeftOut, below, folder_of, folders, listed_in, uri_of
from curate_resources.sources.manifests import Entry, Manifest, Manifests, bounded, entry_of
from curate_resources.sources.progress import Place, Progress
from curate_resources.sources.unit_listing import FoundUnit, unit_at, units
from curate_resources.storage.own_files import below_root, check_source
from curate_resources.storage.root import Storage
from curate_resources.storage.stored_object import StorageUnavailable
from gpu_kernels.errors import UserError

_MOST_UNSETTLED = 1000
"""How many files that may still be written are kept in mind for each folder; with more, a look waits for the first."""


@dataclass(frozen=True)
class Look:
    """What one look did.

    Attributes:
        shards: keys of the shards that were closed.
        next_shard, next_late: the numbers of the next ones, of the series of listings and of files behind their places.
        files: units in them.
        waiting: units that are settled, but in no full shard yet.
        events: objects that were told of, written and removed.
        unsettled: units that may still be written.
        done: whether it came to the end of every folder.
        problems: what could not be listed or looked at, and why; everything else was.
    """

    shards: tuple[str, ...]
    next_shard: int
    next_late: int
    files: int
    waiting: int
    unsettled: int
    events: tuple[int, int]
    done: bool
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Discovery:
    """One source under one root; `files` says which files make a unit."""

    storage: Storage
    name: str
    source: Source
    files: UnitFiles

    @property
    def _path(self) -> str:
        return f"sources/{self.name}.json"

    def progress(self) -> Progress:
        """How far it is; the beginning where it never looked."""
        if not self.storage.exists(self._path):
            return Progress()
        return Progress.model_validate_json(self.storage.read(self._path))

    def shard(self, number: int) -> str:
        """The key of a shard; keys sort by number."""
        return f"{self.name}-{number:06d}"

    @property
    def late_series(self) -> str:
        """What the keys of shards begin with whose files appeared behind the places. Events and audits find these."""
        return f"{self.name}-late"

    def late_shard(self, number: int) -> str:
        """The key of such a shard."""
        return f"{self.late_series}-{number:06d}"

    def owns(self, shard: str) -> bool:
        """Whether a shard holds files of this source."""
        return re.fullmatch(rf"{re.escape(self.name)}(-late)?-\d{{6,}}", shard) is not None

    def look(self, now: float | None = None) -> Look:
        """List on, for at most `source.tick_seconds`, and close the shards that are full or have waited long enough.

        With a queue of events, what they are about is listed or looked at, and everything only now and then. Messages
        are deleted when what they caused is written: they come again where a look dies before that.

        Args:
            now: seconds since 1970.
        """
        progress, now = self.progress(), time.time() if now is None else now
        looking = _Looking(self, progress, now)
        queue, intake = self.queue, Intake()
        if queue is None:
            looking.run()
        else:
            intake = take_in(queue, self.source, self.files, progress, now, lambda: looking.half_through)
            looking.follow(intake.answered)
        self.storage.write(self._path, json.dumps(progress.model_dump(), indent=1).encode())
        problems = [*intake.problems, *looking.problems]
        if queue is not None:
            try:
                queue.delete(intake.receipts)
            except StorageUnavailable as error:
                problems.append(str(error))
        return Look(
            tuple(looking.shards),
            progress.next_shard,
            progress.next_late,
            looking.files,
            looking.waiting + len(progress.named),
            sum(len(place.unsettled) for place in progress.places.values()) + len(progress.named),
            (intake.created, intake.removed),
            looking.done and not problems,
            tuple(problems),
        )

    def takes_in(self, folder: str) -> Callable[[str], bool]:
        """Whether a file of a folder of the source is wanted, by the path that it was listed with."""
        return lambda path: self.source.takes(below(folder, path), self.files)

    @property
    def queue(self) -> EventQueue | None:
        """Where events of it are told, if it says so."""
        events = self.source.events
        return None if events is None else EventQueue(events.queue, events.profile or self.source.uri)

    def left_over(self, progress: Progress) -> Iterator[Manifest]:
        """Manifests of shards that were closed by looks that died before they noted it."""
        number, manifests = progress.next_shard, Manifests(self.storage)
        while self.storage.exists(f"manifests/{self.shard(number)}.json"):
            yield manifests.load(self.shard(number))
            number += 1


class _Looking:
    """One look under way."""

    def __init__(self, discovery: Discovery, progress: Progress, now: float) -> None:
        self._discovery, self._source, self._progress, self._now = discovery, discovery.source, progress, now
        self._files = discovery.files
        self._deadline = time.monotonic() + discovery.source.tick_seconds
        self._manifests = Manifests(discovery.storage)
        self.shards: list[str] = []
        self.files = self.waiting = 0
        self.done = False
        self.problems: list[str] = []
        left_over = list(discovery.left_over(progress))
        self._taken = {entry.uri for manifest in left_over for entry in manifest.entries}
        self.shards += [manifest.shard for manifest in left_over]
        progress.next_shard += len(left_over)

    def follow(self, answered: bool) -> None:
        """List the folders that events are about, or all when it is time to, and close shards of files behind."""
        events, progress = self._source.events, self._progress
        assert events is not None
        if not answered or self._now - progress.listed >= events.list_every_seconds:
            self.run()
            if self.done:
                progress.listed = self._now
        else:
            waiting = {folder for folder, place in progress.places.items() if place.unsettled}
            for folder in sorted({*progress.due, *waiting}):
                if self.late:
                    break
                self._through(folder, progress.places.setdefault(folder, Place()))
            self.done = not self.problems and not progress.due
        self._close_named()
        while self._discovery.storage.exists(f"manifests/{self._discovery.late_shard(progress.next_late)}.json"):
            progress.next_late += 1  # also those of the audit, and of looks that died

    def _close_named(self) -> None:
        """Put files that events named into shards, when they fill one or have waited long enough."""
        named, source, manifests = self._progress.named, self._source, self._manifests
        if not self._named_enough(named):
            return
        shards = [shard for shard in manifests.shards() if self._discovery.owns(shard)]
        known = KnownFiles(f"{self._discovery.name}-{self._progress.id}")
        if not known.learn(manifests, shards, lambda: self.late):
            return
        for uri in set(named).difference(known.unknown(list(named))):
            del named[uri]  # told of twice, or written anew: that is for the audit
        if not self._named_enough(named):
            return
        entries: list[Entry] = []
        refused: list[OSError] = []
        for uri in sorted(named):
            if self.late:
                break
            folder = folder_of(source.uri, uri) or "/".join(uri.split("/", 3)[:3])
            try:
                unit = unit_at(self._files, folder, uri.split("/", 3)[3], self._discovery.takes_in(folder))
            except FileNotFoundError:  # removed again
                del named[uri]
            except OSError as error:  # it stays named
                refused.append(error)
            else:
                if unit.left_out == self._files.incomplete and not self._waited([named[uri]]):
                    continue  # the rest of it may follow
                if unit.found.bytes and unit.left_out is None and not below_root(uri, folder):
                    entries.append(entry_of(unit, partial(uri_of, folder)))
                else:
                    del named[uri]
        if refused:
            self.problems.append(f"{len(refused)} files that events named cannot be looked at: {refused[0]}")
        runs = list(bounded(entries, source.units_per_shard, source.bytes_per_shard))
        if runs and len(runs[-1]) < source.units_per_shard and not self._waited(named.values()):
            runs.pop()
        series = self._discovery.late_series
        made = manifests.close(series, manifests.next_ordinal(series, shards), runs, source.preset)
        self.shards += made
        self.files += sum(made.values())
        for run in runs:
            for entry in run:
                del named[entry.uri]

    def _named_enough(self, named: Mapping[str, float]) -> bool:
        return len(named) >= self._source.units_per_shard or self._waited(named.values())

    def _waited(self, since: Iterable[float]) -> bool:
        return min(since, default=float("inf")) <= self._now - self._source.close_after_seconds

    def run(self) -> None:
        """Look through all folders."""
        found = folders(self._source.uri)
        # Begin with the folder where the last look stopped, so that none starves.
        start = next((index for index, folder in enumerate(found) if folder >= self._progress.turn), 0)
        for folder in found[start:] + found[:start]:
            if self.late:
                self._progress.turn = folder
                return
            self._through(folder, self._progress.places.setdefault(folder, Place()))
        self._progress.turn = ""
        self.done = not self.problems and not self.late

    def _through(self, folder: str, place: Place) -> None:
        """Look through one folder, as far as there is time, and note the place that was reached: first at the files
        that were not settled, then on from the place."""
        try:
            check_source(folder, self._discovery.storage.root)
        except UserError as error:
            self.problems.append(str(error))
            return
        again, shard = dict.fromkeys(place.unsettled), _OpenShard(self._source)
        takes, uri = self._discovery.takes_in(folder), partial(uri_of, folder)
        gone: list[str] = []
        refused: list[OSError] = []
        for path in place.unsettled:
            if self.late:
                break
            try:
                self._meet(unit_at(self._files, folder, path, takes), uri, again, shard)
            except FileNotFoundError:  # it had a temporary name, or all of the folder is away
                gone.append(path)
            except OSError as error:  # it stays unsettled, and is looked at by the next look
                refused.append(error)
        if refused:
            self.problems.append(f"{len(refused)} files that wait in {folder} cannot be looked at: {refused[0]}")
        there = ended = False
        at_place = True  # nothing was met beyond it
        try:
            listing = listed_in(folder, place.after) if not self.late else ()
            for found in units(self._files, listing, takes, place.after):
                there = True
                if at_place and (self.late or len(again) >= _MOST_UNSETTLED):
                    break
                if isinstance(found, LeftOut):
                    if found.reason == UNREADABLE:
                        self.problems.append(f"{found.path} cannot be read: let this user list it, or exclude it")
                    continue
                at_place = found.last is not None
                place.after = found.last or place.after
                self._meet(found, uri, again, shard)
            else:
                there = ended = not self.late
        except OSError as error:
            self.problems.append(str(error))
        if there:
            for path in gone:
                again.pop(path, None)
        if ended and folder in self._progress.due:
            self._progress.due.remove(folder)
        if shard.is_full or (ended and self._waited(unit.found.modified for unit, _ in shard.found)):
            self._close(shard)
        # What is in no shard yet is met again by the next look.
        self.waiting += len(shard.found)
        place.unsettled = sorted({*again, *(unit.path for unit, _ in shard.found)})

    def _meet(self, unit: FoundUnit, uri: Callable[[str], str], again: dict[str, None], shard: "_OpenShard") -> None:
        """Put a unit into the shard, or have it met `again` if it may still be written."""
        again.pop(unit.path, None)
        entry_uri = uri(unit.path)
        if entry_uri in self._taken or unit.left_out == OTHER:
            return
        wait = self._source.settle_seconds if unit.members else self._source.unsettled_seconds
        if unit.found.modified > self._now - wait:
            again[unit.path] = None
            return
        if not unit.found.bytes or unit.left_out is not None:  # what is added later, an event or the audit finds
            return
        if not shard.has_room(unit.found.bytes):
            self._close(shard)
        shard.add(unit, entry_of(unit, uri))

    @property
    def half_through(self) -> bool:
        """Whether half of its time is up."""
        return time.monotonic() > self._deadline - self._source.tick_seconds / 2

    @property
    def late(self) -> bool:
        """Whether its time is up."""
        return time.monotonic() > self._deadline

    def _close(self, shard: "_OpenShard") -> None:
        if not shard.found:
            return
        entries = sorted((entry for _, entry in shard.found), key=lambda entry: entry.uri)
        progress = self._progress
        made = self._manifests.close(self._discovery.name, progress.next_shard, [entries], self._source.preset)
        for key, files in made.items():
            progress.next_shard = 1 + int(key.rpartition("-")[2])
            self.shards.append(key)
            self.files += files
        shard.clear()


class _OpenShard:
    """The units of a shard that is not closed yet."""

    def __init__(self, source: Source) -> None:
        self._most_files, self._most_bytes = source.units_per_shard, source.bytes_per_shard
        self.found: list[tuple[FoundUnit, Entry]] = []
        self._bytes = 0

    def add(self, unit: FoundUnit, entry: Entry) -> None:
        self.found.append((unit, entry))
        self._bytes += entry.bytes

    def has_room(self, size: int) -> bool:
        return not self.found or (not self.is_full and self._bytes + size <= self._most_bytes)

    def clear(self) -> None:
        self.found, self._bytes = [], 0

    @property
    def is_full(self) -> bool:
        return len(self.found) == self._most_files

"""From the messages of a queue to what a look has to do: which folders to list, and which files to look at.

A file after the place of its folder is for the listing to find; the event only says that it is time. A file behind it
would not be listed again, and is put down by its name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from curate_resources.declarations.units import UnitFiles
from curate_resources.sources.declared import Source
from curate_resources.sources.event_queue import EventQueue
from curate_resources.sources.listing import below, comes_after, folder_of, uri_of, usable
from curate_resources.sources.object_events import UnreadableEvent, object_events
from curate_resources.sources.progress import Progress
from curate_resources.sources.unit_listing import inside
from curate_resources.storage.stored_object import StorageUnavailable

_MOST_NAMED = 10_000
"""With this many files that wait, the rest stays in the queue."""


@dataclass
class Intake:
    """What came from a queue.

    Attributes:
        receipts: of the messages that may be deleted once the progress is written.
        created, removed: events of objects of the source.
        problems: messages that could not be read, which stay in the queue; or why it could not be read.
        answered: whether the queue could be read.
    """

    receipts: list[str] = field(default_factory=list[str])
    created: int = 0
    removed: int = 0
    problems: list[str] = field(default_factory=list[str])
    answered: bool = True


def take_in(
    queue: EventQueue, source: Source, files: UnitFiles, progress: Progress, now: float, late: Callable[[], bool]
) -> Intake:
    """Read messages while there is time, and put into `progress` what they tell."""
    intake, due = Intake(), set(progress.due)
    try:
        for messages in queue.received():
            for message in messages:
                try:
                    events = object_events(message.body)
                except UnreadableEvent as error:
                    intake.problems.append(
                        f"message {message.id} of {queue.url} is not an event of S3 and stays: {error}"
                    )
                    continue
                for event in events:
                    folder = folder_of(source.uri, event.uri)
                    if folder is None:
                        continue
                    path = event.uri.split("/", 3)[3]
                    if not source.takes(below(folder, path), files) or not usable(event.uri, path):
                        continue
                    intake.created += not event.removed
                    intake.removed += event.removed
                    place = progress.places.get(folder)
                    if event.removed:
                        continue
                    unit = files.unit_of(path)
                    if place is None or (comes_after(folder, path, place.after) and not inside(place.after, unit)):
                        due.add(folder)
                    elif unit not in place.unsettled:  # else the look has it in mind
                        progress.named.setdefault(uri_of(folder, unit), now)
                intake.receipts.append(message.receipt)
            if late() or len(progress.named) >= _MOST_NAMED:
                break
    except StorageUnavailable as error:
        intake.problems.append(str(error))
        intake.answered = False
    progress.due = sorted(due)
    return intake

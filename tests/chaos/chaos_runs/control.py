"""Between the process that commits and the one that disturbs it: files in a folder, so that any process can take part.

What happens is appended to `events`; before or after the commit that `hold` names, the process waits until the file
`go` is there.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

When = Literal["before", "after"]
Event = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """Just before or after the n-th commit of a run, or, if `when` is None, after some CPU seconds of its work."""

    when: When | None = None
    commit: int = 0
    cpu_seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.when} commit {self.commit}" if self.when else f"after {self.cpu_seconds:.1f} CPU s"


@dataclass(frozen=True)
class Drop:
    """The n-th write of a run fails: `media` counts files, `table` counts commits; after it was done, or instead."""

    of: Literal["media", "table"]
    number: int
    done: bool

    def __str__(self) -> str:
        return f"{self.of} write {self.number}, {'done but not confirmed' if self.done else 'not done'}"


@dataclass(frozen=True)
class Control:
    """The folder, seen from either side."""

    folder: Path

    def hold(self, moment: Moment) -> None:
        """Have the run wait at a commit."""
        (self.folder / "hold").write_text(json.dumps([moment.when, moment.commit]))

    def drop(self, drop: Drop) -> None:
        """Have a write fail."""
        (self.folder / "drop").write_text(json.dumps([drop.of, drop.number, drop.done]))

    def release(self) -> None:
        """Let a run that waits at a commit go on."""
        (self.folder / "go").touch()

    def clear(self) -> None:
        """Forget what happened and what was asked for: the next run is not disturbed."""
        for name in ("hold", "drop", "events"):
            (self.folder / name).unlink(missing_ok=True)

    def say(self, event: str, **about: Any) -> None:
        """Note what happens."""
        line = json.dumps({"event": event, "pid": os.getpid(), **about}, default=str) + "\n"
        descriptor = os.open(self.folder / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def events(self, name: str) -> list[Event]:
        """What happened so far, of one kind."""
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def attach(self) -> None:
        """Make the commits and media writes of this process known, held up and dropped as was asked for."""
        from curate_resources.storage.root import Storage
        from curate_resources.tables.lance_tables import Tables

        self.say("begun")
        commits = _Counter(self, "table")
        swap, replace, writer = Tables.swap, Tables.replace, Storage.writer

        def announced(commit: Callable[..., int]) -> Callable[..., int]:
            def announcing(tables: Tables, *arguments: Any) -> int:
                with commits.counted():
                    return commit(tables, *arguments)

            return announcing

        files = _Counter(self, "media")

        @contextmanager
        def counted_writer(storage: Storage, path: str) -> Iterator[Any]:
            with files.counted(), writer(storage, path) as file:
                yield file

        Tables.swap = announced(swap)
        Tables.replace = announced(replace)
        Storage.writer = counted_writer


class _Counter:
    """Counts writes of one kind and does what was asked for at one of them."""

    def __init__(self, control: Control, kind: str) -> None:
        self._control, self._kind, self._number = control, kind, 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        number, self._number = self._number, self._number + 1
        dropped = self._asked("drop") or [None, None, None]
        drop = dropped[:2] == [self._kind, number]
        if drop and not dropped[2]:
            raise OSError(5, "the storage dropped a write")
        self._reached("before", number)
        yield
        self._reached("after", number)
        if drop:
            raise OSError(5, "the storage did not confirm a write")

    def _reached(self, when: When, number: int) -> None:
        if self._kind != "table":
            return
        self._control.say(when, commit=number)
        while self._asked("hold") == [when, number] and not (self._control.folder / "go").exists():
            time.sleep(0.02)

    def _asked(self, name: str) -> Any:
        path = self._control.folder / name
        return json.loads(path.read_text()) if path.exists() else None

"""What people said of clips, kept under the root: any number of people may label at once, and nothing is lost.

Each process writes one file of JSON lines and no other's, so nobody overwrites what another said.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from curate_resources.storage.root import Storage
from gpu_kernels.errors import UserError
from gpu_kernels.strict import StrictModel

FOLDER = "labels"

Said = Literal["keep", "reject", "unsure"]


class Line(StrictModel):
    """One line of a file: somebody is asked about a clip, or has said something of it."""

    clip: str
    by: str
    at: float
    """Seconds since 1970."""
    said: Said | None = None
    """None: is being asked."""
    until: float | None = None
    """Until when the clip is left to whoever is being asked."""


@dataclass(frozen=True)
class LabelsSoFar:
    """What is known of clips, by their ids.

    Attributes:
        said: what was said last.
        asked: clips that somebody was asked about, which therefore were drawn.
        with_others: clips that others are being asked about at this moment.
        disputed: clips of which several people last said different things.
    """

    said: Mapping[str, Line]
    asked: frozenset[str]
    with_others: frozenset[str]
    disputed: frozenset[str]


class Labels:
    """Those for one threshold.

    Args:
        setting: the threshold's.
        by: who is going to say something.
    """

    def __init__(self, storage: Storage, setting: str, by: str) -> None:
        self._storage, self._folder, self._by = storage, f"{FOLDER}/{setting}", by
        self._name = f"{uuid.uuid4().hex}.jsonl"
        self._own: list[Line] = []

    def ask(self, clips: Sequence[str], seconds: float) -> None:
        """Note that somebody is being asked about clips, which others are not asked about for a while."""
        now = time.time()
        self._add([Line(clip=clip, by=self._by, at=now, until=now + seconds) for clip in clips])

    def say(self, said: Mapping[str, Said]) -> None:
        """Keep what somebody says of clips."""
        now = time.time()
        self._add([Line(clip=clip, by=self._by, at=now, said=each) for clip, each in said.items()])

    def so_far(self) -> LabelsSoFar:
        """What everybody has said until now.

        Raises:
            UserError: a file is damaged.
        """
        said: dict[str, Line] = {}
        by_person: dict[str, dict[str, str]] = defaultdict(dict)
        asked, held = set[str](), set[str]()
        now = time.time()
        for name, line in sorted(self._lines(), key=lambda each: each[1].at):
            if line.said is None:
                asked.add(line.clip)
                if name != self._name and line.until is not None and line.until > now:
                    held.add(line.clip)
            else:
                said[line.clip] = line
                by_person[line.clip][line.by] = line.said
        disputed = frozenset(clip for clip, each in by_person.items() if len(set(each.values())) > 1)
        return LabelsSoFar(said, frozenset(asked), frozenset(held - said.keys()), disputed)

    def _add(self, lines: Sequence[Line]) -> None:
        self._own += lines
        text = "".join(f"{line.model_dump_json(exclude_none=True)}\n" for line in self._own)
        self._storage.write(f"{self._folder}/{self._name}", text.encode())

    def _lines(self) -> list[tuple[str, Line]]:
        found = [(self._name, line) for line in self._own]
        for name in self._storage.files(self._folder):
            if name.endswith(".jsonl") and name != self._name:
                path = f"{self._folder}/{name}"
                try:
                    lines = self._storage.read(path).decode().splitlines()
                    found += [(name, Line.model_validate_json(line)) for line in lines]
                except (ValidationError, UnicodeDecodeError) as error:
                    raise UserError(
                        f"{self._storage.uri(path)} holds something that is no label: mend or move it"
                    ) from error
        return found

"""What judges said, kept under the root: nobody is asked twice about the same two captions in the same order."""

import json
import uuid
from dataclasses import asdict, dataclass

from curate_assets.video.caption_rows import text_digest
from curate_assets.video.comparison.pairs import WindowKey
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.judge import Winner

_FOLDER = "judgements"
_AT_ONCE = 200
"""Judgements in a file: what is lost at most when the machine goes away."""

_Key = tuple[str, str, int, int, str, str]
"""The window, and the digests of the first and of the second caption."""


@dataclass(frozen=True)
class Judgement:
    """What a judge said of two captions in one order. Tokens are None where the backend does not tell."""

    winner: Winner
    reason: str
    prompt_tokens: int | None
    output_tokens: int | None


class Judgements:
    """Those of one judge, in files of JSON lines that are never changed: any number of processes may add to them.

    Args:
        judge: digest of its settings.
    """

    def __init__(self, storage: Storage, judge: str) -> None:
        self._storage, self._folder = storage, f"{_FOLDER}/{judge}"
        self._known: dict[_Key, Judgement] = {}
        self._new: list[str] = []
        for name in storage.files(self._folder):
            if name.endswith(".jsonl"):
                for line in storage.read(f"{self._folder}/{name}").decode().splitlines():
                    key, said = json.loads(line)
                    self._known[_Key(key)] = Judgement(**said)

    def find(self, window: WindowKey, first: str, second: str) -> Judgement | None:
        """What was said of two captions of a window in this order."""
        return self._known.get(_key(window, first, second))

    def add(self, window: WindowKey, first: str, second: str, judgement: Judgement) -> None:
        """Keep what was said."""
        key = _key(window, first, second)
        self._known[key] = judgement
        self._new.append(json.dumps([key, asdict(judgement)], ensure_ascii=True))
        if len(self._new) >= _AT_ONCE:
            self.save()

    def save(self) -> None:
        """Write what is new."""
        if self._new:
            lines, self._new = self._new, []
            self._storage.write(f"{self._folder}/{uuid.uuid4().hex}.jsonl", "".join(f"{x}\n" for x in lines).encode())


def _key(window: WindowKey, first: str, second: str) -> _Key:
    return (*window, text_digest(first) or "", text_digest(second) or "")

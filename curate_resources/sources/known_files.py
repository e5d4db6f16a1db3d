"""Which files are in shards already: made from the manifests, and kept on this machine so that each is read once.

It may be removed at any time. Manifests are only ever added to a series, and a file stays in its shard, so that what is
kept never becomes wrong.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from curate_resources.machine.private_folder import private_folder
from curate_resources.sources.manifests import Manifests


@dataclass(frozen=True)
class KnownFiles:
    """The files of some shards.

    Attributes:
        name: of what they are; another life of the same root has another one.
    """

    name: str

    def learn(self, manifests: Manifests, shards: Iterable[str], late: Callable[[], bool]) -> bool:
        """Read the manifests that were not read before, as far as there is time; whether all of them are known now."""
        with self._database() as database, database:  # one transaction
            read = {row[0] for row in database.execute("SELECT shard FROM shards")}
            for shard in shards:
                if shard in read:
                    continue
                if late():
                    return False
                places = [(_digest(entry.place),) for entry in manifests.load(shard).entries]
                database.executemany("INSERT OR IGNORE INTO files VALUES (?)", places)
                database.execute("INSERT OR IGNORE INTO shards VALUES (?)", (shard,))
        return True

    def unknown(self, uris: Sequence[str]) -> list[str]:
        """Those that are in none of the shards that were read."""
        with self._database() as database:
            found = "SELECT 1 FROM files WHERE place = ?"
            return [uri for uri in uris if database.execute(found, (_digest(uri),)).fetchone() is None]

    @contextmanager
    def _database(self) -> Generator[sqlite3.Connection, None, None]:
        file = private_folder("known") / f"{self.name}.sqlite"
        with closing(sqlite3.connect(file, timeout=60)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS shards (shard TEXT PRIMARY KEY) WITHOUT ROWID")
            database.execute("CREATE TABLE IF NOT EXISTS files (place BLOB PRIMARY KEY) WITHOUT ROWID")
            yield database


def _digest(place: str) -> bytes:
    return hashlib.blake2b(place.encode(), digest_size=16).digest()

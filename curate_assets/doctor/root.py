"""The root: whether it can be read and written as tables and manifests need it, and whether its clock agrees."""

import os
import time
import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_resources.sources.manifests import Manifests
from curate_resources.storage import object_stores
from curate_resources.storage.root import Storage, is_local, local_path

_ACCESS = "check --root or CURATE_ROOT, the bucket's policy, and the credentials in the environment or storage settings"
_OWNER = "give this user the right to write there, or choose another root with --root or CURATE_ROOT"
_MOST_CLOCK_SECONDS = 60


def reading(deployment: Deployment) -> Finding:
    """Listing and reading what is there."""
    storage = deployment.storage
    if is_local(storage.root):
        path = Path(local_path(storage.root))
        if not path.exists():
            return warning(f"{storage.root} is not there yet", "`curate add` makes it; or name another with --root")
        if not path.is_dir():
            return failed(f"{storage.root} is not a folder", "name a folder with --root or CURATE_ROOT")
    shards = Manifests(storage).shards()
    for shard in shards[:1]:
        storage.read(f"manifests/{shard}.json")
    tables = len(storage.folders("tables"))
    return ok(f"{storage.root}: {len(shards)} shards, {tables} tables")


def writing(deployment: Deployment) -> Finding:
    """Writing a file, reading it back, listing and deleting it."""
    storage = deployment.storage
    above = _nearest(storage)
    if above is not None:
        able = os.access(above, os.W_OK | os.X_OK)
        return ok(f"{above} can be written to") if able else failed(f"{above} cannot be written to", _OWNER)
    with _probe(storage) as path:
        storage.write(path, b"curate doctor")
        if storage.read(path) != b"curate doctor":
            return failed("what was written is not what is read", "use another store: this one loses writes")
        if path not in storage.files(""):
            return failed("what was written is not listed", "use a store whose listings are consistent")
        storage.delete(path)
        if storage.exists(path):
            return failed("what was deleted is still there", "use a store whose reads are consistent")
    return ok("written, read back, listed and deleted")


def one_creation_wins(deployment: Deployment) -> Finding:
    """Of two creations of one object exactly one may succeed: commits of tables rest on it."""
    storage = deployment.storage
    if _nearest(storage) is not None:
        return ok("nothing is there yet")
    with _probe(storage) as path, ThreadPoolExecutor(2) as threads:
        won = sum(threads.map(lambda content: _created(storage, path, content), (b"one", b"two")))
        won += _created(storage, path, b"three")
    if won > 1:
        return failed(
            f"{won} of three creations of one object succeeded: concurrent runs would lose commits of tables",
            "use a store with conditional writes (If-None-Match), or a newer version of this one",
        )
    if won == 0:
        return warning("no creation was answered as the one that won", "the network may be failing: try again")
    return ok("of three creations of one object, one succeeded")


def clock(deployment: Deployment) -> Finding:
    """This machine's clock against the store's: ages of files, and signatures of requests, depend on both."""
    storage = deployment.storage
    if _nearest(storage) is not None:
        return ok("nothing is there yet")
    with _probe(storage) as path:
        before = time.time()
        storage.write(path, b"curate doctor")
        now = (before + time.time()) / 2
        uri = storage.uri(path)
        written = os.stat(local_path(uri)).st_mtime if is_local(uri) else object_stores.stat(uri).modified
    apart = written - now
    said = f"the store's clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    if abs(apart) > _MOST_CLOCK_SECONDS:
        return warning(
            said, "set this machine's clock (NTP): stores refuse requests of another time, `curate clean` goes by ages"
        )
    return ok(said)


def _nearest(storage: Storage) -> Path | None:
    """The folder that a root would be made in; None where the root is there, or is a bucket."""
    if not is_local(storage.root):
        return None
    root = Path(local_path(storage.root))
    return None if root.exists() else next(parent for parent in root.parents if parent.exists())


@contextmanager
def _probe(storage: Storage) -> Generator[str, None, None]:
    """The name of a file that is not there, and not left there either."""
    path = f"doctor-{uuid.uuid4().hex}"
    try:
        yield path
    except BaseException:
        with suppress(OSError):  # the first error says more
            storage.delete(path)
        raise
    storage.delete(path)


def _created(storage: Storage, path: str, content: bytes) -> bool:
    uri = storage.uri(path)
    if not is_local(uri):
        return object_stores.create(uri, content)
    try:
        with open(local_path(uri), "xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


CHECKS = (
    Check("root", reading, _ACCESS, needs=("storage settings",)),
    Check("writing", writing, _OWNER, needs=("root",)),
    Check("conditional writes", one_creation_wins, _OWNER, needs=("root", "writing")),
    Check("clock", clock, _OWNER, needs=("root", "writing")),
)

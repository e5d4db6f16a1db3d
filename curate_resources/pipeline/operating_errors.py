"""What disks, file systems and stores refuse, as one sentence with a remedy, from the errors of whoever met it first:
Python, Lance, SQLite."""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping

from curate_resources.storage.root import is_local
from curate_resources.storage.store_errors import store_error
from gpu_kernels.errors import CurateError, OperatingError

_ELSEWHERE = "or choose another root (--root, CURATE_ROOT)"

_DISK: Mapping[int, tuple[str, str]] = {
    errno.EACCES: ("permission is denied", "give this user the right to it"),
    errno.EPERM: ("the system does not permit it", "give this user the right to it"),
    errno.EROFS: ("its file system is read-only", "mount it so that it can be written to"),
    errno.ENOTDIR: ("a part of this path is a file, not a folder", "correct the path"),
    errno.EISDIR: ("there is a folder where a file is expected", "move it away"),
    errno.ENOSPC: ("the disk is full", "free space (`curate clean` removes what nothing needs)"),
    errno.EDQUOT: ("this user's disk quota is used up", "free space (`curate clean` removes what nothing needs)"),
    errno.EFBIG: ("the file is larger than is allowed", "raise the limit (`ulimit -f`)"),
    errno.ENAMETOOLONG: ("the name is too long for its file system", "shorten the path"),
    errno.ELOOP: ("its links lead in a circle", "correct the links"),
    errno.ESTALE: ("the network file system has lost it", "mount it again"),
    errno.ENOTCONN: ("its file system is no longer connected", "mount it again"),
    errno.ENODEV: ("its file system is no longer there", "mount it again"),
    errno.EIO: ("the disk reports an input/output error", "check the disk and its free space"),
}

_MACHINE: Mapping[int, tuple[str, str]] = {
    errno.EMFILE: ("too many files are open", "raise the limit (`ulimit -n`)"),
    errno.ENFILE: ("too many files are open on this machine", "raise the limit (`sysctl fs.file-max`)"),
    errno.ENOMEM: ("there is not enough memory", "end other programs, or use fewer workers (engine.cpus)"),
    errno.EAGAIN: ("no more processes or threads can be started", "raise the limit (`ulimit -u`)"),
}

_NETWORK = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ETIMEDOUT,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
    }
)

_SQLITE: Mapping[str, int] = {
    "readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "database or disk is full": errno.ENOSPC,
    "disk i/o error": errno.EIO,
}
"""What SQLite says, and which error of the system it means."""

_RUST = re.compile(r"\(os error (\d+)\)")
_RUST_PATH = re.compile(r'(?:at path "|operation on |file )(/[^":,]+)')
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.partial$")


def operating_error(error: BaseException, root: str | None = None) -> CurateError | None:
    """The error as it is to be told; None if it is a bug.

    Args:
        root: what is named where the error names nothing.
    """
    for each in _causes(error):
        if isinstance(each, CurateError):
            return each
        if isinstance(each, MemoryError):
            return _told(errno.ENOMEM, None, root)
        if isinstance(each, sqlite3.OperationalError):
            number = next((number for said, number in _SQLITE.items() if said in str(each).lower()), None)
            if number is not None:
                return _told(number, f"Dagster's database in {os.environ.get('DAGSTER_HOME', root)}", None)
        if isinstance(each, BrokenPipeError):
            continue
        text = str(each)
        if (found := _RUST.search(text)) is not None:
            path = _RUST_PATH.search(text)
            if (said := _told(int(found[1]), path[1] if path else None, root)) is not None:
                return said
        if isinstance(each, OSError):
            if each.errno is None:  # of a store's client, or one of ours that says it all
                return _of_store(text, root)
            if (said := _told(each.errno, _path(each), root, text=each.strerror)) is not None:
                return said
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from, the first cause last."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        cause = getattr(at, "cause", None)  # of Ray's errors, which hold the worker's
        at = at.__cause__ or (cause if isinstance(cause, BaseException) else None)


def _told(number: int, path: str | None, root: str | None, text: str | None = None) -> OperatingError | None:
    below = root is not None and (path is None or path.startswith(root) or root.startswith(path))
    if number in _DISK:
        what, remedy = _DISK[number]
        return OperatingError(f"{path or root or 'a disk'}: {what}; {remedy}{f', {_ELSEWHERE}' if below else ''}")
    if number in _MACHINE:
        what, remedy = _MACHINE[number]
        return OperatingError(f"{what}; {remedy}")
    if number in _NETWORK:
        return OperatingError(
            f"{path or 'a server'} cannot be reached: {(text or 'no connection').lower()}; check the network and the "
            "address (`curate doctor` looks at each)"
        )
    if number == errno.ENOENT and below and path is not None:
        return OperatingError(f"{path} is not there and cannot be made; correct the path, {_ELSEWHERE}")
    return None


def _of_store(text: str, root: str | None) -> OperatingError:
    """Lance names the file in its own way, and what it writes lies below the root."""
    if root is None or not text.startswith("LanceError") or is_local(root):
        return OperatingError(_first_sentence(text))
    return store_error(root, OSError(text))


def _path(error: OSError) -> str | None:
    path = error.filename2 if error.filename2 is not None else error.filename
    return _TEMPORARY.sub("", str(path)) if isinstance(path, str) else None


def _first_sentence(text: str) -> str:
    """Without where in its source a client was."""
    return re.split(r", /\S+\.rs:\d+|\n", text)[0].strip()

"""Landlock: the kernel leaves a process the files that it is given to read, and nothing else to open or to reach.

What an older kernel does not know is left out: TCP came with Linux 6.7, signals and abstract sockets with 6.12.
"""

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
"""The system calls' numbers, which are the same on every architecture."""

_VERSION = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_DIRECTORY = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights there are to files and folders, by the version of Landlock that brought the latest of them."""

_TCP, _TCP_SINCE = 0b11, 4
_SOCKETS_AND_SIGNALS, _SCOPES_SINCE = 0b11, 6

_LIBC = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("place", ctypes.c_int32))


def leave_readable(paths: Iterable[str | Path]) -> None:
    """Leave this thread, and all that it starts, these files and folders to read; no TCP, no signals to others.

    Args:
        paths: folders with all that is in them; what is missing is left out.

    Raises:
        OSError: this kernel has no Landlock, a container forbids it, or new privileges were not given up before.
    """
    version = _call(_CREATE, None, 0, _VERSION)
    rules = _Ruleset(
        files=(1 << max(count for since, count in _FILE_RIGHTS.items() if since <= version)) - 1,
        network=_TCP if version >= _TCP_SINCE else 0,
        scopes=_SOCKETS_AND_SIGNALS if version >= _SCOPES_SINCE else 0,
    )
    ruleset = _call(_CREATE, ctypes.byref(rules), ctypes.sizeof(rules), 0)
    try:
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow(ruleset, path)
        _call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str | Path) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        is_folder = S_ISDIR(os.fstat(place).st_mode)
        rule = _Beneath(_READ_FILE | (_READ_DIRECTORY if is_folder else 0), place)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    result = _LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result

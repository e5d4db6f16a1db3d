"""Shutting a process off: from the environment, the files and the processes of its user, and from every network."""

import ctypes
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gpu_kernels.sandbox.landlock import leave_readable
from gpu_kernels.sandbox.system_calls import leave_decoding

_PR_SET_NO_NEW_PRIVS = 38

_VARIABLES = frozenset(
    """
    HOME LANG LANGUAGE PATH TMPDIR TZ LD_LIBRARY_PATH LD_PRELOAD GLIBC_TUNABLES
    PYTHONHOME PYTHONUTF8 PYTHONNOUSERSITE PYTHONUSERBASE PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONHASHSEED
    """.split()
)
_PREFIXES = ("LC_", "MALLOC_")

_SYSTEM = """
    /lib /lib64 /usr/lib /usr/lib64 /usr/local/lib /etc/ld.so.cache /etc/localtime /usr/share/zoneinfo
    /dev/null /dev/zero /dev/random /dev/urandom /proc/cpuinfo /proc/meminfo
    /proc/sys/vm/overcommit_memory /sys/devices/system/cpu
""".split()


def decoding_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that decoders are told: where libraries are, the language and the time zone."""
    return {name: value for name, value in environment.items() if name in _VARIABLES or name.startswith(_PREFIXES)}


def libraries() -> list[Path]:
    """Files and folders that have to be readable for what is loaded only when it is needed."""
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    python += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    loaded = [
        path for name, module in sys.modules.items() if "." not in name for path in getattr(module, "__path__", ())
    ]
    folders = {Path(path).resolve() for path in [*_SYSTEM, *python, *loaded]}
    return sorted(path for path in folders if folders.isdisjoint(path.parents))


def shut_off(readable: Sequence[str | Path]) -> None:
    """Shut this process off, for good, with all threads that it starts: it can read these files, and answer.

    What the kernel does not offer is left out: `curate doctor` tries what holds.
    """
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with suppress(OSError):
        leave_readable([*readable, "/proc/self"])
    with suppress(OSError):
        leave_decoding()


def close_all_but(descriptor: int) -> None:
    """Close every file but one; standard input and output are nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))

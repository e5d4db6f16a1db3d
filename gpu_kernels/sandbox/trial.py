"""What a decoding child can still do on this machine: a child tries it. No version of a kernel tells as much."""

import ctypes
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gpu_kernels.sandbox.limits import DecodingLimits
from gpu_kernels.sandbox.messages import ChildMessage, Send, Text, reader_of
from gpu_kernels.sandbox.nursery import Nursery

_PTRACE_SEIZE = 0x4206
_MARK = "CURATE_TRIAL"


@dataclass(frozen=True)
class Targets:
    """What the child tries itself on, all made for it.

    Attributes:
        bystander: a process of the same user.
        secret, doomed: files.
        absent: a file that is not there.
        tcp, udp: ports of this machine.
        by_path, abstract: addresses of sockets.
    """

    bystander: int
    secret: str
    doomed: str
    absent: str
    tcp: int
    udp: int
    by_path: str
    abstract: str


class _Closed(ChildMessage):
    kind: Literal["closed"]
    way: Text


def open_ways(limits: DecodingLimits) -> list[str]:
    """The ways of WAYS that are open to a child."""
    with targets() as made, Nursery(limits) as nursery:
        said = nursery.run("gpu_kernels.sandbox.trial:attempt", reader_of(_Closed), [], targets=asdict(made))
        closed = {message.way for message in said}
    return [way for way in WAYS if way not in closed]


@contextmanager
def targets() -> Generator[Targets, None, None]:
    """Make what a child tries itself on; the variable CURATE_TRIAL is set meanwhile."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curate-trial-")))
        for name in ("secret", "doomed"):
            (folder / name).write_text(name)
        abstract = f"\0curate-trial-{secrets.token_hex(8)}"
        listeners = [
            _bound(stack, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            _bound(stack, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            _bound(stack, socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket")),
            _bound(stack, socket.AF_UNIX, socket.SOCK_STREAM, abstract),
        ]
        os.environ[_MARK] = "known"
        stack.callback(os.environ.pop, _MARK, None)
        # It ends with the pipe to it, so that none is left whatever becomes of this process.
        bystander = subprocess.Popen(
            [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, text=True
        )
        stack.callback(bystander.communicate)
        yield Targets(
            bystander=bystander.pid,
            secret=str(folder / "secret"),
            doomed=str(folder / "doomed"),
            absent=str(folder / "absent"),
            tcp=listeners[0].getsockname()[1],
            udp=listeners[1].getsockname()[1],
            by_path=str(folder / "socket"),
            abstract=abstract,
        )


def _bound(stack: ExitStack, family: int, kind: int, address: str | tuple[str, int]) -> socket.socket:
    bound = stack.enter_context(socket.socket(family, kind))
    bound.bind(address)
    if kind == socket.SOCK_STREAM:
        bound.listen()
    return bound


# ---------------------------------------------------------------- in the child


def attempt(send: Send, limits: DecodingLimits, targets: dict[str, Any]) -> None:
    """Sandboxed operation: try every way; a message for each that is closed."""
    for way, go in WAYS.items():
        try:
            go(Targets(**targets))
        except OSError:
            send({"kind": "closed", "way": way})


def _know_a_variable(_: Targets) -> None:
    if _MARK not in os.environ:
        raise PermissionError


def _connect(targets: Targets) -> None:
    with socket.create_connection(("127.0.0.1", targets.tcp), timeout=5) as connection:
        connection.sendall(b"data")


def _send_datagram(targets: Targets) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"data", ("127.0.0.1", targets.udp))


def _connect_by_path(targets: Targets) -> None:
    _reach(targets.by_path)


def _connect_to_abstract(targets: Targets) -> None:
    _reach(targets.abstract)


def _reach(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(address)


def _read(targets: Targets) -> None:
    Path(targets.secret).read_text()


def _make(targets: Targets) -> None:
    Path(targets.absent).touch()


def _change(targets: Targets) -> None:
    os.chmod(targets.secret, 0o666)


def _delete(targets: Targets) -> None:
    os.unlink(targets.doomed)


def _read_variables(targets: Targets) -> None:
    Path(f"/proc/{targets.bystander}/environ").read_bytes()


def _trace(targets: Targets) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_PTRACE_SEIZE, targets.bystander, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _signal(targets: Targets) -> None:
    os.kill(targets.bystander, 0)


def _start(_: Targets) -> None:
    os.execv(sys.executable, [sys.executable, "-S", "-c", ""])  # does not return where it is possible


WAYS: dict[str, Callable[[Targets], None]] = {
    "know the worker's environment variables": _know_a_variable,
    "open TCP connections": _connect,
    "send over UDP, as for DNS": _send_datagram,
    "reach sockets that have a path": _connect_by_path,
    "reach abstract sockets": _connect_to_abstract,
    "read other files": _read,
    "make files": _make,
    "change files": _change,
    "delete files": _delete,
    "read other processes' variables": _read_variables,
    "trace other processes": _trace,
    "signal other processes": _signal,
    "start programs": _start,
}
"""What may be open to a child, and how that is tried; the last one ends it where it succeeds."""

"""Hostile media is opened in a child process with limits; a crash there is one failed row.

A *nursery* process imports the decoders once and forks a child for every request, so isolation costs milliseconds.
The child has limits on memory, CPU time and file size, may not write files, and answers over a pipe in messages:
a JSON header and raw buffers, never pickles, so that a child that was taken over can lie but not run code here.
A child dies with its nursery, and the nursery with whoever holds the other end of its socket, however that one ends.
"""

import ctypes
import fcntl
import importlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any, BinaryIO

from pydantic import Field

from gpu_kernels.strict import StrictModel

Header = dict[str, Any]
Message = tuple[Header, list[memoryview]]
Send = Callable[..., None]

_PIPE_BYTES = 1 << 20
"""What a child may be ahead of its reader; the most that Linux grants without privileges."""

_LARGEST_BUFFER = 1 << 28
"""Bytes of one header or buffer: a size that a child claims is allocated here before it is filled."""

_START_SECONDS = 300
"""Importing the decoders from a cold network disk takes its time."""

_PR_SET_PDEATHSIG = 1


class DecodingLimits(StrictModel):
    """What a child process that opens media may use."""

    memory_mib: int = Field(default=6144, ge=1)
    """Address space of the child, in MiB; decoding 8K video takes about two GiB."""
    cpu_seconds: int = Field(default=21_600, ge=1)
    """CPU seconds for one file."""
    stall_seconds: int = Field(default=120, ge=1)
    """Seconds without any message after which the child is ended."""
    output_mib: int = Field(default=16_384, ge=1)
    """MiB that a child may send for one file, against files that unpack without end."""
    max_pixels: int = Field(default=8192 * 8192, ge=1)
    """Pixels of one frame, above which a file is refused before decoding."""


class MediaError(Exception):
    """A file that cannot be opened or decoded; the message names the reason."""


class DecoderCrashed(MediaError):
    """The child process died: it was killed by a limit or by a fault in a decoder."""


# ---------------------------------------------------------------- messages


def _send(stream: BinaryIO, header: Header, *buffers: bytes | memoryview) -> None:
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    stream.write(_framed({**header, "_sizes": [view.nbytes for view in views]}))
    for view in views:
        stream.write(view)
    stream.flush()


def _messages(descriptor: int, limits: DecodingLimits) -> Iterator[Message]:
    """Messages until the pipe's other end is closed; a message cut short ends the stream."""
    received = 0

    def read(size: int) -> memoryview | None:
        nonlocal received
        received += size
        if received > limits.output_mib << 20:
            raise MediaError(f"decoding gave more than {limits.output_mib} MiB (limits.output_mib)")
        if not 0 <= size <= _LARGEST_BUFFER:
            raise ValueError(f"a buffer of {size} bytes")
        view, filled = memoryview(bytearray(size)), 0
        while filled < size:
            if not select([descriptor], [], [], limits.stall_seconds)[0]:
                raise MediaError(_stalled(limits))
            count = os.readv(descriptor, [view[filled:]])
            if count == 0:
                return None
            filled += count
        return view

    try:
        while (length := read(4)) is not None:
            if (packed := read(struct.unpack("<I", length)[0])) is None:
                return
            header = json.loads(bytes(packed))
            buffers = [read(int(size)) for size in header.pop("_sizes")]
            if None in buffers:
                return
            yield header, [buffer for buffer in buffers if buffer is not None]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MediaError(f"the decoding process sent what is no message: {error}") from error


def _stalled(limits: DecodingLimits) -> str:
    return f"no progress for {limits.stall_seconds} s while decoding (limits.stall_seconds)"


# ---------------------------------------------------------------- parent


class Nursery:
    """The process that forks a decoding child per request. One per worker; not shared between threads."""

    def __init__(self, limits: DecodingLimits) -> None:
        self.limits = limits
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, operation: str, **arguments: Any) -> Iterator[Message]:
        """Run `module:function` in a fresh child and yield its messages.

        Closing the iterator before its end kills the child.

        Raises:
            MediaError: what the operation itself found wrong, or a limit that was reached.
            DecoderCrashed: the child died.
            RuntimeError: the nursery does not start.
        """
        request = {"operation": operation, "arguments": arguments, "limits": self.limits.model_dump()}
        control = self._started()
        reader, writer = os.pipe()
        ended = False
        failure: str | None = None
        try:
            with suppress(OSError):  # only speed is lost where the system allows less
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            try:
                socket.send_fds(control, [_framed(request)], [writer])
            finally:
                os.close(writer)
            for header, buffers in _messages(reader, self.limits):
                if header.get("kind") == "error":
                    failure = str(header.get("message")).encode(errors="replace").decode()  # JSON holds half characters
                elif header.get("kind") != "progress":
                    yield header, buffers
            status = _reply(control)["status"]
            ended = True
        except TimeoutError as error:
            raise MediaError(_stalled(self.limits)) from error
        except ConnectionError as error:
            raise DecoderCrashed("the decoding process went away") from error
        finally:
            os.close(reader)
            if not ended:
                self.close()  # the child may still run: it goes with its nursery
        if status != 0:
            raise DecoderCrashed(_cause_of_death(status, self.limits))
        if failure is not None:
            raise MediaError(failure)

    def _started(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.close()
            ours, theirs = socket.socketpair()
            # The checkout may be on this process's path only.
            path = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gpu_kernels.sandbox", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "OMP_NUM_THREADS": "1"},
            )
            theirs.close()
            self._control = ours
            try:
                ours.settimeout(_START_SECONDS)
                _reply(ours)
            except (ConnectionError, TimeoutError) as error:
                self.close()
                raise RuntimeError("the decoding process did not start; see its messages above") from error
            ours.settimeout(self.limits.stall_seconds)
        return self._control

    def close(self) -> None:
        """End the nursery and a child that still runs, and wait until both are gone."""
        if self._control is not None:
            self._control.close()  # which is what the nursery waits for
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _framed(value: Header) -> bytes:
    packed = json.dumps(value).encode()
    return struct.pack("<I", len(packed)) + packed


def _reply(control: socket.socket) -> Header:
    return json.loads(_exactly(control, struct.unpack("<I", _exactly(control, 4))[0]))


def _exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            raise ConnectionError("the other end is gone")
        data += part
    return data


def _cause_of_death(status: int, limits: DecodingLimits) -> str:
    if not os.WIFSIGNALED(status):
        return f"the decoder ended with exit status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return f"decoding took more than {limits.cpu_seconds} CPU seconds (limits.cpu_seconds)"
    # Libraries that do not check for memory end in one of these, too.
    hint = " (perhaps for want of limits.memory_mib)" if number in (signal.SIGABRT, signal.SIGSEGV) else ""
    return f"the decoder died of {signal.Signals(number).name}{hint}"


# ---------------------------------------------------------------- nursery and child


def nursery(control: socket.socket) -> None:
    """What the nursery process does until its socket is closed: fork a child per request."""
    import av
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    av.logging.set_level(None)
    cv2.setNumThreads(1)
    control.sendall(_framed({"ready": True}))
    while True:
        head, descriptors, _, _ = socket.recv_fds(control, 4, 1)
        if not head:
            return
        head += _exactly(control, 4 - len(head))
        request = json.loads(_exactly(control, struct.unpack("<I", head)[0]))
        mine = os.getpid()
        pid = os.fork()
        if pid == 0:
            control.close()
            _child(request, descriptors[0], mine)
        os.close(descriptors[0])
        watch = os.pidfd_open(pid)
        # Nothing is said on the socket while a child runs: what can be read is its end, the parent's or its wish.
        abandoned = control in select([control, watch], [], [])[0]
        if abandoned:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(watch)
        if abandoned:
            return
        control.sendall(_framed({"status": status}))


def _child(request: Header, descriptor: int, nursery: int) -> None:
    """Never returns: whatever happens, only this process ends."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != nursery:
            return
        limits = DecodingLimits.model_validate(request["limits"])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a library's log line to a file is not worth dying for
        memory = limits.memory_mib << 20
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with os.fdopen(descriptor, "wb", buffering=1 << 16) as stream:

            def send(header: Header, *buffers: bytes | memoryview) -> None:
                _send(stream, header, *buffers)

            try:
                module, function = request["operation"].split(":")
                getattr(importlib.import_module(module), function)(send=send, limits=limits, **request["arguments"])
            except MemoryError:
                send(
                    {
                        "kind": "error",
                        "message": f"decoding needs more than {limits.memory_mib} MiB (limits.memory_mib)",
                    }
                )
            except MediaError as error:
                send({"kind": "error", "message": str(error)})
            except Exception as error:
                send({"kind": "error", "message": f"{type(error).__name__}: {error}"})
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    # Imported under its own name, so that exceptions raised by operations are the classes caught above.
    from gpu_kernels import sandbox

    sandbox.nursery(socket.socket(fileno=int(sys.argv[1])))

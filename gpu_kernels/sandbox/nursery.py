"""The parent's side: asking for children, and reading what they say."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from gpu_kernels.sandbox.confinement import decoding_environment
from gpu_kernels.sandbox.control import receive, send_with
from gpu_kernels.sandbox.limits import DecoderCrashed, DecodingLimits, MediaError
from gpu_kernels.sandbox.messages import Reader, T, messages, reason, stalled, understood

_PIPE_BYTES = 1 << 20
"""What a child may be ahead of its reader; the most that Linux grants without privileges."""

_START_SECONDS = 300
"""Importing the decoders from a cold network disk takes its time."""


class Nursery:
    """The process that forks a decoding child per request. One per worker; not shared between threads."""

    def __init__(self, limits: DecodingLimits) -> None:
        self.limits = limits
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, operation: str, read: Reader[T], files: Sequence[str], **arguments: Any) -> Generator[T, None, None]:
        """Run `module:function` in a fresh child and yield what `read` makes of its messages.

        Closing the iterator before its end kills the child.

        Args:
            files: the only files that the child can open, besides libraries.

        Raises:
            MediaError: what the operation itself found wrong, a limit that was reached, or an unexpected message.
            DecoderCrashed: the child died.
            RuntimeError: the nursery does not start.
        """
        request = {
            "operation": operation,
            "arguments": arguments,
            "limits": self.limits.model_dump(),
            "files": [os.path.abspath(file) for file in files],
        }
        control = self._started()
        reader, writer = os.pipe()
        ended = False
        failure: str | None = None
        try:
            with suppress(OSError):  # only speed is lost where the system allows less
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            try:
                send_with(control, request, writer)
            finally:
                os.close(writer)
            for header, buffers in messages(reader, self.limits):
                if header.get("kind") == "error":
                    failure = reason(header)
                elif header.get("kind") != "progress":
                    yield understood(read, header, buffers)
            status = receive(control)["status"]
            ended = True
        except TimeoutError as error:
            raise MediaError(stalled(self.limits)) from error
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

    def ask(self, operation: str, read: Reader[T], files: Sequence[str], **arguments: Any) -> T:
        """Run `module:function` in a fresh child, as `run` does, and return the one answer that it gives.

        Raises:
            MediaError: as in `run`; or there is none, or more than one.
        """
        answers = self.run(operation, read, files, **arguments)
        try:
            found = list(islice(answers, 2))
        finally:
            answers.close()
        if len(found) != 1:
            raise MediaError(f"the decoding process gave {'no answer' if not found else 'more than one answer'}")
        return found[0]

    def _started(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.close()
            ours, theirs = socket.socketpair()
            # The checkout may be on this process's path only.
            path = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gpu_kernels.sandbox.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={
                    **decoding_environment(os.environ),
                    "PYTHONPATH": os.pathsep.join(filter(None, path)),
                    "OMP_NUM_THREADS": "1",
                    "OPENBLAS_NUM_THREADS": "1",
                },
            )
            theirs.close()
            self._control = ours
            try:
                ours.settimeout(_START_SECONDS)
                receive(ours)
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


def _cause_of_death(status: int, limits: DecodingLimits) -> str:
    if not os.WIFSIGNALED(status):
        return f"the decoder ended with exit status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return f"decoding took more than {limits.cpu_seconds} CPU seconds (limits.cpu_seconds)"
    # Libraries that do not check for memory end in one of these, too.
    hint = " (possibly out of memory: see limits.memory_mib)" if number in (signal.SIGABRT, signal.SIGSEGV) else ""
    return f"the decoder died of {signal.Signals(number).name}{hint}"

"""The nursery and its children: `python -m gpu_kernels.sandbox.fork_server DESCRIPTOR`."""

import ctypes
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any

from gpu_kernels.sandbox.confinement import close_all_but, libraries, shut_off
from gpu_kernels.sandbox.control import receive_with
from gpu_kernels.sandbox.limits import DecodingLimits, MediaError, limit_resources
from gpu_kernels.sandbox.messages import Header, framed, send_message

_PR_SET_PDEATHSIG = 1


def serve(control: socket.socket) -> None:
    """What the nursery does until its socket is closed: fork a child per request."""
    import av
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    av.logging.set_level(None)
    cv2.setNumThreads(1)
    loaded_later = libraries()
    control.sendall(framed({"ready": True}))
    while (asked := receive_with(control)) is not None:
        request, descriptor = asked
        with suppress(Exception):  # so that children find it imported; what is wrong with it, the child says
            _operation(request["operation"])
        mine = os.getpid()
        pid = os.fork()
        if pid == 0:
            _child(request, descriptor, mine, loaded_later)
        os.close(descriptor)
        watch = os.pidfd_open(pid)
        # Nothing is said on the socket while a child runs: what can be read is its end, the parent's or its wish.
        abandoned = control in select([control, watch], [], [])[0]
        if abandoned:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(watch)
        if abandoned:
            return
        control.sendall(framed({"status": status}))


def _operation(name: str) -> Callable[..., None]:
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)


def _child(request: Header, descriptor: int, nursery: int, loaded_later: list[Path]) -> None:
    """Never returns: whatever happens, only this process ends."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != nursery:
            return
        limits = DecodingLimits.model_validate(request["limits"])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a library's log line to a file is not worth dying for
        close_all_but(descriptor)
        limit_resources(limits)
        shut_off([*request["files"], *loaded_later])
        with os.fdopen(descriptor, "wb", buffering=1 << 16) as stream:

            def send(header: Header, *buffers: bytes | memoryview) -> None:
                send_message(stream, header, *buffers)

            try:
                _operation(request["operation"])(send=send, limits=limits, **request["arguments"])
            except MemoryError:
                send(_error(f"decoding needs more than {limits.memory_mib} MiB (limits.memory_mib)"))
            except MediaError as error:
                send(_error(str(error)))
            except Exception as error:
                send(_error(f"{type(error).__name__}: {error}"))
        code = 0
    finally:
        os._exit(code)


def _error(message: str) -> dict[str, Any]:
    return {"kind": "error", "message": message}


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

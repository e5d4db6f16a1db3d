"""The socket between a parent and its nursery, which trust each other; no child ever holds it."""

import json
import socket
import struct

from gpu_kernels.sandbox.messages import Header, framed

_PREFIX = 4


def send_with(control: socket.socket, request: Header, descriptor: int) -> None:
    """Send a request together with an open file."""
    socket.send_fds(control, [framed(request)], [descriptor])


def receive_with(control: socket.socket) -> tuple[Header, int] | None:
    """The next request and the open file that came with it; None when the other end is closed."""
    head, descriptors, _, _ = socket.recv_fds(control, _PREFIX, 1)
    if not head:
        return None
    return _rest(control, head + _exactly(control, _PREFIX - len(head))), descriptors[0]


def receive(control: socket.socket) -> Header:
    """The next answer.

    Raises:
        ConnectionError: the other end is closed.
    """
    return _rest(control, _exactly(control, _PREFIX))


def _rest(control: socket.socket, prefix: bytes) -> Header:
    return json.loads(_exactly(control, struct.unpack("<I", prefix)[0]))


def _exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            raise ConnectionError("the other end is gone")
        data += part
    return data

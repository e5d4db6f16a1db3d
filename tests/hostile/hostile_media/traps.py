"""What shows that something was opened: a server that counts connections, and files that are watched."""

import ctypes
import os
import selectors
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from hostile_media.sources import make

MARKER = "canary-7d1f0b5e93a24c68"
"""Stands in every text that must not be read."""

_PICTURE = "-f lavfi -i color=c=magenta:s=64x64:r=10:d=1,drawbox=x=32:w=32:h=64:c=lime:t=fill"
_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_EVENT = struct.Struct("iIII")


class Listener:
    """A server on loopback, TCP and UDP at one port, that gives whoever connects the canary video."""

    def __init__(self, content: bytes) -> None:
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._end, self._wake = socket.socketpair()
        self._content = content
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as ready:
            for each in (self._tcp, self._udp, self._end):
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    if key.fileobj is self._end:
                        return
                    self.connections += 1
                    if key.fileobj is self._udp:
                        self._udp.recv(65536)
                    else:
                        self._answer(self._tcp.accept()[0])

    def _answer(self, connection: socket.socket) -> None:
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(self._content)}\r\n\r\n".encode()
        with connection:
            connection.settimeout(1)
            try:
                connection.recv(65536)
                connection.sendall(head + self._content)
            except OSError:
                pass

    def close(self) -> None:
        self._wake.close()
        self._thread.join()
        for each in (self._tcp, self._udp, self._end):
            each.close()


class Watch:
    """Counts what the kernel tells of files being opened or read, by whatever process (inotify)."""

    def __init__(self, paths: list[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names: dict[int, str] = {}
        for path in paths:
            watch = libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_OPEN | _IN_ACCESS)
            if self._descriptor < 0 or watch < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {path}")
            self._names[watch] = path.name

    def events(self) -> list[str]:
        """Names of the files, one per event since the last call."""
        found: list[str] = []
        while True:
            try:
                data = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                watch, _, _, length = _EVENT.unpack_from(data, at)
                found.append(self._names.get(watch, "?"))
                at += _EVENT.size + length

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass
class Traps:
    """Canary files in a folder of their own and beside the hostile files, and the listener.

    Attributes:
        folder: where the canaries lie; hostile files lie in a folder beside it.
        beside: a canary in the folder of the hostile files, whose suffix `curate add` leaves alone.
        movie: the content of the canary that is a QuickTime movie, with its data before its index.
    """

    folder: Path
    beside: Path
    movie: bytes
    listener: Listener
    watch: Watch

    @classmethod
    def set(cls, folder: Path, library: Path) -> Self:
        """Make and watch the canaries."""
        folder.mkdir()
        video = make(None, f"{_PICTURE} -c:v libx264 -preset ultrafast -pix_fmt yuv420p", folder / "canary.ts")
        movie = make(None, f"{_PICTURE} -c:v mpeg4 -g 1 -q:v 2", folder / "canary.mov")
        text = folder / "canary.txt"
        text.write_text(f"{MARKER}\n" * 20)
        picture = make(None, f"{_PICTURE} -frames:v 1 -update 1", folder / "canary.png")
        beside = library / "canary.mpegts"
        beside.write_bytes(video.read_bytes())
        content = video.read_bytes()
        traps = cls(folder, beside, movie.read_bytes(), Listener(content), Watch([video, movie, text, picture, beside]))
        traps.watch.events()
        return traps

    @property
    def url(self) -> str:
        """Of the listener."""
        return f"http://127.0.0.1:{self.listener.port}/canary.ts"

    def close(self) -> None:
        self.listener.close()
        self.watch.close()


def shows_canary(picture: np.ndarray) -> bool:
    """Whether a picture, uint8 [height, width, 3] RGB, is one of the canary video: left magenta, right lime."""
    middle = picture.shape[1] // 2
    if middle == 0:
        return False
    left, right = picture[:, :middle].mean((0, 1)), picture[:, middle:].mean((0, 1))
    off = np.abs(np.concatenate([left, right]) - [255, 0, 255, 0, 255, 0])
    return bool(off.max() < 48)

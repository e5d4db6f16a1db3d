"""Where a file's clock starts again, from a reading of its own. Runs inside the sandbox's child."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gpu_kernels.media.containers import open_media
from gpu_kernels.media.streams import video_stream
from gpu_kernels.media.timeline import Epoch, epochs
from gpu_kernels.sandbox import Send

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream


_PROGRESS_PACKETS = 1000


def epochs_of(send: Send, path: str) -> list[Epoch]:
    """The epochs of a file; reads all of it with signs of life, and decodes nothing."""
    with open_media(path) as container:
        stream = video_stream(container)
        return epochs(container, _packets(send, container, stream))


def _packets(send: Send, container: "InputContainer", stream: "VideoStream") -> "Iterator[Packet[Any]]":
    import av.error

    try:
        for number, packet in enumerate(container.demux()):  # all streams: there may be none of the video's for long
            if number % _PROGRESS_PACKETS == 0:
                send({"kind": "progress"})
            if packet.size and packet.stream.index == stream.index:
                yield packet
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return  # the file ends within a packet

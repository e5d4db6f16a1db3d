"""Where a file's clock starts again, from a reading of its own. Runs inside the sandbox's child."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gpu_kernels.media.containers import open_media
from gpu_kernels.media.streams import video_stream
from gpu_kernels.media.timeline import Epoch, epochs

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream


def epochs_of(path: str) -> list[Epoch]:
    """The epochs of a file; nothing is decoded."""
    with open_media(path) as container:
        stream = video_stream(container)
        return epochs(container, _packets(container, stream))


def _packets(container: "InputContainer", stream: "VideoStream") -> "Iterator[Packet[Any]]":
    import av.error

    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except av.error.MemoryError:
        raise
    except av.FFmpegError:
        return  # the file ends within a packet

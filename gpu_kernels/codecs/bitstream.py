"""What cutting a clip by copying has to know of a codec: one class for each implements `Bitstream`.

They read packets of hostile files, so they are used inside the sandbox's child only.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self


@dataclass(frozen=True)
class Picture:
    """What a packet of the source has in it.

    Attributes:
        payload: it as it goes into the clip.
        entry: whether decoding can begin here.
        leading: whether it is shown before the last entry although it is decoded after it, and may need what was
            before that.
    """

    payload: bytes
    entry: bool
    leading: bool = False


class Bitstream(Protocol):
    """The video stream of a source, and what is encoded to stand beside it in one track.

    Attributes:
        decoder: FFmpeg's name of what decodes it.
        encoder: FFmpeg's name of what encodes the edges.
        tag: the name of its sample entry in an MP4 file.
    """

    decoder: ClassVar[str]
    encoder: ClassVar[str]
    tag: ClassVar[str]

    @property
    def skips_unreferenced(self) -> bool:
        """Whether FFmpeg's decoder can be trusted to skip only pictures that no other refers to."""
        ...

    @property
    def options(self) -> dict[str, str]:
        """The encoder's: fast, the same bytes every time, a packet for each frame at once, above the least PSNR even
        with white noise, and a keyframe for each frame that is asked to be one."""
        ...

    def picture(self, packet: bytes) -> Picture:
        """Read a packet of the source.

        Raises:
            MediaError: it is nothing that can be copied.
            ValueError, IndexError: it is damaged.
        """
        ...

    def opening(self, payload: bytes) -> bytes:
        """An entry's payload as the first of a copied run."""
        ...

    def joined(self, extradata: bytes) -> Self:
        """This stream with what the opened encoder has: `extradata`, empty if it has none.

        Raises:
            MediaError: they cannot stand beside each other.
        """
        ...

    def encoded(self, packet: bytes) -> bytes:
        """The encoder's packet as it goes into the clip; only of a stream that was `joined`."""
        ...

    def record(self) -> bytes:
        """What the clip's sample entry says of the stream; empty if that is not for us to say."""
        ...

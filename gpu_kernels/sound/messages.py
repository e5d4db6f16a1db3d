"""What is heard of a video's sound, read from a child's messages: whatever it sends, values and times fit together."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from gpu_kernels.media.stream_times import LAST_NS, NANOSECONDS
from gpu_kernels.sandbox import ChildMessage
from gpu_kernels.sandbox.messages import Buffers, Count, Text
from gpu_kernels.sound.levels import CEILING_DB, FLOOR_DB, TENTHS, VOICE_RATE, Levels

TENTH_NS = NANOSECONDS // TENTHS

_ROUNDING_NS = 1_000_000
_Ns = Field(ge=-2 * LAST_NS, le=2 * LAST_NS)


@dataclass(frozen=True)
class HeardSound:
    """A stretch of sound without gaps.

    Attributes:
        pts_ns: when it begins, on the video's running clock.
        anew: whether there is a gap before it; the sound's beginning is one, too.
    """

    pts_ns: int
    anew: bool
    levels: Levels


@dataclass(frozen=True)
class SoundEnd:
    """All that can be heard was heard.

    Attributes:
        start_ns, end_ns: when it begins and ends; None where there is none.
        decode_errors: packets that could not be decoded.
        error: why hearing broke off; None if it did not.
    """

    start_ns: int | None
    end_ns: int | None
    decode_errors: int
    error: str | None


class Heard(ChildMessage):
    """A stretch of sound, as it is sent."""

    kind: Literal["sound"] = "sound"
    pts_ns: int = _Ns
    anew: bool
    count: int = Field(ge=1, le=TENTHS)
    buffers: Buffers


class HeardAll(ChildMessage):
    """The end of the sound, as it is sent."""

    kind: Literal["sound_end"] = "sound_end"
    start_ns: int | None = _Ns
    end_ns: int | None = _Ns
    decode_errors: Count
    error: Text | None


class SoundReader:
    """Reads the messages about the sound of one video.

    Attributes:
        ended: whether the last was read.
    """

    def __init__(self) -> None:
        self._next_ns: int | None = None
        self.ended = False

    def __call__(self, message: Heard | HeardAll) -> HeardSound | SoundEnd:
        """What a message says.

        Raises:
            ValueError: it is none that may come now.
        """
        if self.ended:
            raise ValueError("there is more sound after its end")
        if isinstance(message, HeardAll):
            self.ended = True
            start_ns, end_ns = message.start_ns, message.end_ns
            if (start_ns is None) != (end_ns is None) or (start_ns or 0) > (end_ns or 0):
                raise ValueError("the sound ends before it begins")
            return SoundEnd(start_ns, end_ns, message.decode_errors, message.error)
        if self._next_ns is not None and message.pts_ns < self._next_ns - TENTH_NS // 2 - _ROUNDING_NS:
            raise ValueError("the sound goes back")
        if not message.anew and message.pts_ns != self._next_ns:
            raise ValueError("there is a gap in the sound where it goes on")
        self._next_ns = message.pts_ns + message.count * TENTH_NS
        *curves, voice = message.buffers
        loudness, peak, true_peak = (_between(each, message.count, FLOOR_DB, CEILING_DB) for each in curves[:3])
        (clipped,) = (_between(each, message.count, 0, 1) for each in curves[3:])
        samples = np.frombuffer(voice, np.int16)
        if samples.size > (message.count + 1) * VOICE_RATE // TENTHS:
            raise ValueError("there is more sound than its time has room for")
        return HeardSound(message.pts_ns, message.anew, Levels(loudness, peak, true_peak, clipped, samples))


def _between(buffer: memoryview, count: int, least: float, most: float) -> np.ndarray:
    values = np.frombuffer(buffer, np.float32).reshape(count)
    if not ((values >= least) & (values <= most)).all():
        raise ValueError(f"a value is not between {least:g} and {most:g}")
    return values

"""The speech track of a video: its sound as one channel at 16 kHz, in pieces that a recogniser can take at a time.

Pieces are a function of the sound alone, and of nothing after them: no piece is longer than what Whisper sees at once,
and each ends where the sound is quietest, so that few words are cut.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.errors import UserError
from gpu_kernels.media.stream_times import NANOSECONDS
from gpu_kernels.sound.levels import VOICE_RATE

PIECE_SECONDS = 28
"""The longest piece: Whisper's window is 30 seconds."""
_CUT_SECONDS = 8
"""At the end of a full piece, where its cut is looked for."""
_STEP, _WINDOW = VOICE_RATE // 100, 20
"""The quietest 0.2 seconds, by steps of 10 ms."""
_SILENCE = 2 * VOICE_RATE
"""A gap in the sound of at least as many samples ends a piece; a shorter one is silence in it."""


@dataclass(frozen=True)
class TrackPiece:
    """A piece of the track.

    Attributes:
        start_ns: when it begins, on the video's clock.
        samples: int16 at 16 kHz.
    """

    start_ns: int
    samples: NDArray[np.int16]

    @property
    def end_ns(self) -> int:
        """When it ends."""
        return self.start_ns + _ns(len(self.samples))


class TrackCutter:
    """Cuts sound into pieces as it comes in."""

    def __init__(self) -> None:
        self._start_ns: int | None = None
        self._held = np.zeros(0, np.int16)

    def add(self, pts_ns: int, samples: NDArray[np.int16]) -> list[TrackPiece]:
        """The pieces that are complete with the next samples.

        Args:
            pts_ns: when these begin. What is missing before them is silence; what was there already stays.
        """
        done: list[TrackPiece] = []
        if self._start_ns is not None:
            at = round((pts_ns - self._start_ns) * VOICE_RATE / NANOSECONDS)
            gap = at - len(self._held)
            if gap >= _SILENCE:
                done += self.finish()
            elif gap > 0:
                samples = np.concatenate([np.zeros(gap, np.int16), samples])
            elif gap < 0:
                samples = samples[-gap:]
        if self._start_ns is None:
            self._start_ns = pts_ns
        self._held = np.concatenate([self._held, samples])
        while len(self._held) >= PIECE_SECONDS * VOICE_RATE:
            done.append(self._cut(_quietest(self._held[: PIECE_SECONDS * VOICE_RATE])))
        return done

    def finish(self) -> list[TrackPiece]:
        """What is left, as a piece."""
        last = [self._cut(len(self._held))] if len(self._held) else []
        self._start_ns = None
        return last

    def _cut(self, length: int) -> TrackPiece:
        assert self._start_ns is not None
        piece = TrackPiece(self._start_ns, self._held[:length])
        self._start_ns, self._held = piece.end_ns, self._held[length:]
        return piece


def _ns(samples: int) -> int:
    return samples * NANOSECONDS // VOICE_RATE


def _quietest(full: NDArray[np.int16]) -> int:
    """Where to cut a full piece: the middle of the quietest stretch near its end, the last of several."""
    begin = len(full) - _CUT_SECONDS * VOICE_RATE
    steps = full[begin:].astype(np.int64).reshape(-1, _STEP)
    power = np.concatenate([[0], np.cumsum((steps**2).sum(1))])
    stretches = power[_WINDOW:] - power[:-_WINDOW]
    last = len(stretches) - 1 - int(np.argmin(stretches[::-1]))
    return begin + (last + _WINDOW // 2) * _STEP


def flac(samples: NDArray[np.int16]) -> bytes:
    """Samples at 16 kHz as a FLAC file, which loses nothing."""
    import av

    file = io.BytesIO()
    plain = {"fflags": "+bitexact", "metadata_header_padding": "0"}
    with av.open(file, "w", format="flac", options=plain) as container:
        stream = container.add_stream("flac", rate=VOICE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.rate = VOICE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def samples_of(file: bytes, name: str) -> NDArray[np.int16]:
    """The samples of a file that `flac` made.

    Raises:
        UserError: it is no such file, or any of it is missing or changed.
    """
    import av

    try:
        with av.open(io.BytesIO(file), "r", format="flac") as container:
            stream = container.streams.audio[0]
            stream.codec_context.options = {"err_detect": "crccheck+explode"}  # else damage is heard as silence
            frames = [frame.to_ndarray()[0] for frame in container.decode(stream)]
            samples = np.concatenate([*frames, np.zeros(0, np.int16)]).astype(np.int16)
            if len(samples) != stream.duration:
                raise ValueError(f"{len(samples)} samples are left of {stream.duration or 'unknown'}")
    except (av.FFmpegError, ValueError) as error:
        again = "`curate materialize --select speech_tracks --force` of its shard makes it again"
        raise UserError(f"{name} is damaged ({error}): {again}") from error
    return samples

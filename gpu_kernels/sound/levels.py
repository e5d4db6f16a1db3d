"""How loud a stretch of sound is, in tenths of a second. Runs inside the sandbox's child.

Loudness is that of ITU-R BS.1770-4: sound at 48 kHz goes through its two filters, and the power of the channels is
added, surround channels with 1.41 and the one for low frequencies not at all. Gating is left to whoever puts tenths
together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.media.sound_samples import MOST_CHANNELS, samples_of

if TYPE_CHECKING:
    from av import AudioFrame
    from av.filter.context import FilterContext

TENTHS = 10
"""Of a second: each has one value."""

VOICE_RATE = 16_000

FLOOR_DB, CEILING_DB = -120.0, 60.0
"""What is quieter, or louder, counts as this."""

_RATE, _PEAK_RATE = 48_000, 192_000
_LEAST_RATE = 100
"""Samples per second of sound that is worth the name."""
_K_WEIGHTING = (
    "b0=1.53512485958697:b1=-2.69169618940638:b2=1.19839281085285:a0=1:a1=-1.69065929318241:a2=0.73248077421585",
    "b0=1:b1=-2:b2=1:a0=1:a1=-1.99004745483398:a2=0.99007225036621",
)
"""The shelf and the high pass of BS.1770, for 48 kHz."""
_SURROUND = frozenset({"BL", "BR", "BC", "SL", "SR", "TBL", "TBC", "TBR", "SDL", "SDR", "TSL", "TSR"})
_WITHOUT_WEIGHT = frozenset({"LFE", "LFE2"})

_USUAL = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""What channels are taken for that are only counted, as in PCM: filters pass over channels without names."""

_FULL = 0.999
"""A sample is clipped from here on, as one of this many like it, which follow each other on one side."""
_RUN = 3


@dataclass(frozen=True)
class Levels:
    """Consecutive tenths of a second.

    Attributes:
        loudness: float32 [n], LUFS of each by itself, ungated.
        peak: float32 [n], dBFS of its largest sample in any channel.
        true_peak: float32 [n], dBTP: of the sound at 192 kHz.
        clipped: float32 [n], share of samples that are clipped, of all channels.
        voice: int16, the sound as one channel at 16 kHz.
    """

    loudness: NDArray[np.float32]
    peak: NDArray[np.float32]
    true_peak: NDArray[np.float32]
    clipped: NDArray[np.float32]
    voice: NDArray[np.int16]


class LevelMeter:
    """Measures sound without gaps, of one rate, layout and sample format: whole seconds at a time, and what is left.

    Args:
        first: frame of the sound; it is not measured by this.

    Raises:
        ValueError: it has a rate that is none.
    """

    def __init__(self, first: "AudioFrame") -> None:
        from av import AudioLayout
        from av.filter import Graph

        self.rate = first.sample_rate
        if self.rate < _LEAST_RATE:
            raise ValueError(f"{self.rate} samples per second are no sound")
        layout = first.layout
        if layout.nb_channels > MOST_CHANNELS:
            raise ValueError(f"{layout.nb_channels} channels are more than the {MOST_CHANNELS} that can be measured")
        if layout.name.endswith(" channels"):
            layout = AudioLayout(_USUAL.get(layout.nb_channels, layout.name))
        self._weights = np.array([_weight(channel.name) for channel in layout.channels])[:, None]
        graph = self._graph = Graph()
        graph.threads = 1
        self._source = graph.add(
            "abuffer",
            sample_rate=str(self.rate),
            sample_fmt=first.format.name,
            channel_layout=first.layout.name,
            time_base=f"1/{self.rate}",
        )
        named, split = graph.add("aformat", f"channel_layouts={layout.name}"), graph.add("asplit", "4")
        graph.link_nodes(self._source, named, split)
        weighted = [("biquad", f"{each}:precision=f64") for each in _K_WEIGHTING]
        as_it_is = ("aformat", "sample_fmts=fltp")
        chains = (
            ((as_it_is,), self.rate),
            (((*_resampled(_RATE, "dblp"),), *weighted), _RATE),
            ((_resampled(_PEAK_RATE, "fltp"),), _PEAK_RATE),
            ((("aformat", f"sample_fmts=s16:sample_rates={VOICE_RATE}:channel_layouts=mono"),), VOICE_RATE),
        )
        self._sinks: list[FilterContext] = []
        for output, (chain, rate) in enumerate(chains):
            node, at = split, output
            for name, arguments in (*chain, ("asetnsamples", f"n={rate}:p=0"), ("abuffersink", None)):
                following = graph.add(name, arguments)
                node.link_to(following, at, 0)
                node, at = following, 0
            self._sinks.append(node)
        graph.configure()
        self._held: list[list[AudioFrame]] = [[] for _ in self._sinks]

    def take(self, frame: "AudioFrame | None") -> Iterator[Levels]:
        """The levels of all seconds that are complete with this frame; with None, of what is left.

        Raises:
            ValueError: its values are no numbers; nothing more can be measured by this.
        """
        import av.error

        self._source.push(frame)
        for sink, held in zip(self._sinks, self._held, strict=True):
            try:
                while True:
                    held.append(sink.pull())  # pyright: ignore[reportArgumentType]
            except (av.error.BlockingIOError, av.error.EOFError):
                pass
        while all(self._held):
            second = [samples_of(held.pop(0)) for held in self._held]
            if count := (TENTHS * second[1].shape[1] + _RATE // 2) // _RATE:  # half a tenth is one, too
                yield self._levels(count, *second)

    def _levels(
        self, count: int, sound: np.ndarray, weighted: np.ndarray, fine: np.ndarray, voice: np.ndarray
    ) -> Levels:
        np.square(weighted, out=weighted)
        power = (_by_tenth(np.add, weighted, _RATE, count) * self._weights).sum(0) / _counts(weighted, _RATE, count)
        peak, between = _peaks(sound, self.rate, count), _peaks(fine, _PEAK_RATE, count)
        if not np.isfinite([power, peak]).all() or np.isnan(between).any():
            raise ValueError("the values of its samples are no numbers")
        clipped = np.zeros(count)
        if peak.max() >= _FULL:
            hot = _by_tenth(np.add, _clipped(sound).astype(np.float32), self.rate, count).sum(0)
            clipped = hot / (sound.shape[0] * _counts(sound, self.rate, count))
        return Levels(
            loudness=_decibels(power, 10.0, -0.691),
            peak=_decibels(peak, 20.0),
            true_peak=_decibels(np.maximum(peak, between), 20.0),
            clipped=clipped.astype(np.float32),
            voice=np.ascontiguousarray(voice[0], np.int16),
        )


def _resampled(rate: int, samples: str) -> tuple[str, str]:
    return "aformat", f"sample_fmts={samples}:sample_rates={rate}"


def _weight(channel: str) -> float:
    if channel in _WITHOUT_WEIGHT:
        return 0.0
    return 1.41 if channel in _SURROUND else 1.0


def _starts(length: int, rate: int, count: int) -> NDArray[np.int64]:
    """Where the tenths begin in a second's samples, of which there may be fewer than a second has."""
    return np.minimum(np.arange(count) * rate // TENTHS, max(0, length - 1))


def _counts(samples: np.ndarray, rate: int, count: int) -> NDArray[np.int64]:
    return np.maximum(1, np.diff(np.append(_starts(samples.shape[1], rate, count), samples.shape[1])))


def _by_tenth(reduced: np.ufunc, samples: np.ndarray, rate: int, count: int) -> np.ndarray:
    """[channels, samples] -> [channels, count]."""
    return reduced.reduceat(samples, _starts(samples.shape[1], rate, count), axis=1)


def _peaks(samples: np.ndarray, rate: int, count: int) -> np.ndarray:
    """[channels, samples] -> [count]: the largest magnitudes."""
    highest, lowest = (_by_tenth(each, samples, rate, count) for each in (np.maximum, np.minimum))
    return np.maximum(highest.max(0), -lowest.min(0))


def _clipped(sound: np.ndarray) -> NDArray[np.bool_]:
    """Which samples are part of a run of _RUN at least that are all at full scale on one side."""
    clipped = np.zeros(sound.shape, np.bool_)
    for full in (sound >= _FULL, sound <= -_FULL):
        run = full[:, :-2] & full[:, 1:-1] & full[:, 2:]
        for offset in range(_RUN):
            clipped[:, offset : offset + run.shape[1]] |= run
    return clipped


def _decibels(values: np.ndarray, factor: float, offset: float = 0.0) -> NDArray[np.float32]:
    decibels = factor * np.log10(np.maximum(values, 1e-30)) + offset
    return np.clip(decibels, FLOOR_DB, CEILING_DB).astype(np.float32)

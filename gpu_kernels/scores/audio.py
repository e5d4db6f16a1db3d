"""What the sound of a clip comes to, from values of tenths of a second."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpu_kernels.scores.measurement import MeasurementConfig
from gpu_kernels.strict import StrictModel

TENTH_NS = 100_000_000
_SECOND_NS = 1_000_000_000

_BLOCK, _SHORT_TERM = 4, 30
"""Tenths of a block that is gated, and of the short-term loudness (EBU Tech 3341)."""
UNHEARD_LUFS = -70.0
"""The absolute gate of BS.1770: a clip in which nothing is louder has this loudness."""
_GATE, _RANGE_GATE = 10.0, 20.0
"""Below the mean of what is louder than the absolute gate."""
_RANGE = (10, 95)
"""Percentiles between which the loudness range lies (EBU Tech 3342)."""

SILENCE_DBFS = -96.0
"""A tenth whose largest sample is quieter is digital silence: the last bit of 16 is -90."""


class AudioSignalsConfig(MeasurementConfig):
    """The sound of every video, heard in the same pass as its pictures."""

    voice_detector: Literal["silero", "none"] = Field(default="silero")
    """What tells where somebody speaks: Silero VAD, which the package `silero-vad` ships, or nothing."""


class AudioScoresConfig(StrictModel):
    """How values of tenths of a second become numbers of clips. Another one decodes nothing again."""

    silent_below: float = Field(default=-60.0, ge=-120, le=0)
    """LUFS below which a tenth of a second is silent."""
    speech_from: float = Field(default=0.5, ge=0, le=1)
    """Probability from which a tenth of a second is speech."""


@dataclass(frozen=True)
class Sound:
    """The sound of a video, one value for each tenth of a second that there is.

    Attributes:
        pts_ns: int64 [n], when each begins, increasing; half of one may overlap with the next after a gap.
        loudness: float32 [n], LUFS, ungated.
        peak, true_peak: float32 [n], dBFS and dBTP.
        clipped: float32 [n], share of samples that are clipped.
        speech: float32 [n], probability of speech; None where it was not looked for.
        start_ns, end_ns: of the whole; None where there is none.
    """

    pts_ns: NDArray[np.int64]
    loudness: NDArray[np.float32]
    peak: NDArray[np.float32]
    true_peak: NDArray[np.float32]
    clipped: NDArray[np.float32]
    speech: NDArray[np.float32] | None
    start_ns: int | None
    end_ns: int | None


@dataclass(frozen=True)
class AudioScores:
    """What the sound of a clip comes to. Where there is no sound, that is silence.

    Attributes:
        loudness: integrated, in LUFS; UNHEARD_LUFS where nothing passes the gate.
        loudness_range: LU; 0 where less than three seconds pass the gate.
        loudest: greatest momentary loudness, LUFS.
        true_peak: dBTP.
        silent: share of the clip that is silent or has no sound.
        digital_silence: share of the clip that is digital silence or has no sound.
        clipped: share of samples that are clipped, of what sound there is.
        speech: share of the clip with speech; None where it was not looked for.
        missing: share of the clip that has no sound.
        starts_late_s, ends_early_s: how much later than the clip its sound begins, and how much earlier it ends.
    """

    loudness: float
    loudness_range: float
    loudest: float
    true_peak: float
    silent: float
    digital_silence: float
    clipped: float
    speech: float | None
    missing: float
    starts_late_s: float
    ends_early_s: float


def audio_scores(sound: Sound, start_ns: int, end_ns: int, config: AudioScoresConfig) -> AudioScores:
    """The scores of the span [start_ns, end_ns).

    Loudness counts the tenths that lie in the span wholly, shares count each by how much of it does.
    """
    length = max(1, end_ns - start_ns)
    inside = np.minimum(sound.pts_ns + TENTH_NS, end_ns) - np.maximum(sound.pts_ns, start_ns)
    some = inside > 0
    weights = inside[some]
    # In whole nanoseconds: sums of shares leave a trace of nothing, which a threshold of 0 would reject.
    covered = int(weights.sum())
    heard = min(length, covered)
    missing = length - heard

    def share(of: NDArray[np.bool_], besides: int = 0) -> float:
        return (besides + heard * int(weights[of[some]].sum()) / max(1, covered)) / length

    whole = inside == TENTH_NS
    power = np.power(10.0, (sound.loudness[whole].astype(np.float64) + 0.691) / 10).astype(np.float64)
    pts = sound.pts_ns[whole]
    momentary = _moving(power, pts, _BLOCK)
    return AudioScores(
        loudness=_gated(momentary),
        loudness_range=_range(_moving(power, pts, _SHORT_TERM)),
        loudest=max(UNHEARD_LUFS, float(_lufs(momentary.max(initial=0.0)))),
        true_peak=float(sound.true_peak[some].max(initial=-120.0)),
        silent=share(sound.loudness < config.silent_below, missing),
        digital_silence=share(sound.peak < SILENCE_DBFS, missing),
        clipped=float(np.average(sound.clipped[some], weights=weights)) if heard else 0.0,
        speech=share(sound.speech >= config.speech_from) if sound.speech is not None else None,
        missing=missing / length,
        starts_late_s=_seconds(length if sound.start_ns is None else sound.start_ns - start_ns, length),
        ends_early_s=_seconds(length if sound.end_ns is None else end_ns - sound.end_ns, length),
    )


def _seconds(nanoseconds: int, most: int) -> float:
    return min(max(0, nanoseconds), most) / _SECOND_NS


def _moving(power: NDArray[np.float64], pts_ns: NDArray[np.int64], tenths: int) -> NDArray[np.float64]:
    """Mean power of every block of so many tenths that follow each other without a gap."""
    if len(power) < tenths:
        return np.zeros(0)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    means = np.maximum(sums[tenths:] - sums[:-tenths], 0) / tenths
    return means[pts_ns[tenths - 1 :] - pts_ns[: len(pts_ns) - tenths + 1] == (tenths - 1) * TENTH_NS]


def _lufs(power: NDArray[np.float64] | np.float64 | float) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(power, 1e-12)) - 0.691


def _above(blocks: NDArray[np.float64], gate: float) -> NDArray[np.float64]:
    """Blocks above the absolute gate, and above one relative to the mean of these."""
    blocks = blocks[_lufs(blocks) > UNHEARD_LUFS]
    return blocks[_lufs(blocks) > _lufs(blocks.mean()) - gate] if len(blocks) else blocks


def _gated(blocks: NDArray[np.float64]) -> float:
    louder = _above(blocks, _GATE)
    return float(_lufs(louder.mean())) if len(louder) else UNHEARD_LUFS


def _range(blocks: NDArray[np.float64]) -> float:
    louder = _above(blocks, _RANGE_GATE)
    if not len(louder):
        return 0.0
    low, high = np.percentile(_lufs(louder), _RANGE)
    return float(high - low)

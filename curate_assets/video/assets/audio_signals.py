"""`audio_signals`: loudness, peaks, clipping and speech over time, from the scan."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_resources.declarations.table import Column, Row, Table
from gpu_kernels.scan.scan import Scanned
from gpu_kernels.scores.audio import AudioSignalsConfig, Sound
from gpu_kernels.scores.measurement import NO_MODEL
from gpu_kernels.sound.messages import TENTH_NS, HeardSound, SoundEnd
from gpu_kernels.sound.voice_detector import VoiceCurve, VoiceNetwork, detector_identity

_CURVES = ("loudness", "peak", "true_peak", "clipped")


def _model(config: Any) -> tuple[str, str]:
    settings: AudioSignalsConfig = config.audio_signals
    return detector_identity() if settings.enabled and settings.voice_detector == "silero" else NO_MODEL


AUDIO_SIGNALS = Table(
    name="audio_signals",
    grain="video",
    keys=("video_id",),
    sections=("audio_signals",),
    model=_model,
    columns=(
        VIDEO_ID,
        Column("pts_ns", pa.list_(pa.int64()), "when each tenth of a second of sound begins, increasing"),
        Column(
            "loudness",
            pa.list_(pa.float32()),
            "LUFS of each tenth by itself, ungated: the loudness of longer stretches is made of these; -120 at least",
        ),
        Column("peak", pa.list_(pa.float32()), "its largest sample in any channel, in dBFS; -120 at least"),
        Column("true_peak", pa.list_(pa.float32()), "its peak between samples, at 192 kHz, in dBTP; -120 at least"),
        Column("clipped", pa.list_(pa.float32()), "share of its samples that are clipped"),
        Column(
            "speech",
            pa.list_(pa.float32()),
            "probability that somebody speaks in it; empty with `audio_signals.voice_detector: none`",
        ),
        Column("start_ns", pa.int64(), "when the sound begins; null where there is none"),
        Column("end_ns", pa.int64(), "when it ends"),
        Column("decode_errors", pa.int64(), "packets of sound that could not be decoded"),
        Column("audio_error", pa.string(), "why the sound was not heard, or not to its end; null if it was"),
        Column("model", pa.string(), "what found speech"),
        Column("model_revision", pa.string(), "what pins its weights"),
    ),
    description=(
        "Per video, ten values a second: loudness, peaks, clipping and the probability of speech, so that thresholds "
        "and clips change without decoding. Empty where there is no sound that can be heard."
    ),
)


class SoundOfVideo:
    """Takes the sound of a scan. Without any message, the video has none.

    Args:
        network: what finds speech, if that is wanted.
    """

    name = AUDIO_SIGNALS.name

    def __init__(self, video: Row, config: Any, network: VoiceNetwork | None) -> None:
        self._row: Row = {"video_id": video["video_id"], "audio_error": video["audio_error"]}
        self._row["model"], self._row["model_revision"] = _model(config)
        self._network = network
        self._pts: list[np.ndarray] = []
        self._curves: dict[str, list[np.ndarray]] = {name: [] for name in _CURVES}
        self._speech: list[np.ndarray] = []
        self._voice: VoiceCurve | None = None
        self._stretch = 0
        self._ended = not has_sound(video)

    def add(self, chunk: Scanned) -> None:
        if isinstance(chunk, SoundEnd):
            self._end_stretch()
            self._ended = True
            self._row |= {"start_ns": chunk.start_ns, "end_ns": chunk.end_ns, "decode_errors": chunk.decode_errors}
            self._row["audio_error"] = chunk.error
        elif isinstance(chunk, HeardSound):
            if chunk.anew:
                self._end_stretch()
                self._voice = VoiceCurve(self._network) if self._network is not None else None
            count = len(chunk.levels.loudness)
            self._pts.append(chunk.pts_ns + np.arange(count) * TENTH_NS)
            for name, values in self._curves.items():
                values.append(getattr(chunk.levels, name))
            self._stretch += count
            if self._voice is not None:
                self._voice.add(chunk.levels.voice)

    def rows(self, frames: int | None) -> list[Row]:
        speech = [*self._speech, self._speech_of_stretch()] if self._voice is not None else self._speech
        curves = {name: _joined(values, np.float32) for name, values in self._curves.items()}
        row = self._row | curves | {"pts_ns": _joined(self._pts, np.int64), "speech": _joined(speech, np.float32)}
        if not self._ended and len(row["pts_ns"]):  # of a beginning: as far as it is known
            row |= {"start_ns": int(row["pts_ns"][0]), "end_ns": int(row["pts_ns"][-1]) + TENTH_NS}
        return [row if len(row["pts_ns"]) else row | {"status": "empty"}]

    def known_until_ns(self) -> float:
        """What is heard before this time does not change any more."""
        if self._ended:
            return math.inf
        if not self._pts:
            return -math.inf
        unjudged = 0 if self._voice is None else max(0, self._stretch - len(self._voice.tenths()))
        return float(self._pts[-1][-1] + (1 - unjudged) * TENTH_NS)

    def _end_stretch(self) -> None:
        if self._voice is not None:
            self._voice.finish()
            self._speech.append(self._speech_of_stretch())
        self._voice, self._stretch = None, 0

    def _speech_of_stretch(self) -> np.ndarray:
        """As long as the other curves: nobody speaks where too little sound is left to judge."""
        found = self._voice.tenths()[: self._stretch] if self._voice is not None else np.zeros(0, np.float32)
        return np.pad(found, (0, self._stretch - len(found)))


def has_sound(video: Row) -> bool:
    """Whether a row of `source_videos` has sound that can be decoded."""
    return video["audio_index"] is not None and video["audio_error"] is None


def sound_of(signal: Row) -> Sound:
    """The sound of a row of `audio_signals`; an empty row has none."""
    return Sound(
        pts_ns=np.array(signal["pts_ns"] or (), np.int64),
        loudness=_curve(signal, "loudness"),
        peak=_curve(signal, "peak"),
        true_peak=_curve(signal, "true_peak"),
        clipped=_curve(signal, "clipped"),
        speech=_curve(signal, "speech") if signal["model"] != NO_MODEL[0] else None,
        start_ns=signal["start_ns"],
        end_ns=signal["end_ns"],
    )


def joined_sound(segments: Sequence[pa.Table]) -> pa.Table:
    """The first segment has all of the sound: what finds speech, and filters, carry something from its beginning on."""
    return segments[0]


def _curve(signal: Row, name: str) -> np.ndarray:
    return np.array(signal[name] or (), np.float32)


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, kind)


def _curves_fit(shard: Shard) -> Problems:
    found: Problems = []
    for row in shard.good(AUDIO_SIGNALS):
        name, tenths = shard.named(AUDIO_SIGNALS, row), len(row["pts_ns"])
        if any(len(row[curve]) != tenths for curve in _CURVES) or len(row["speech"]) not in (0, tenths):
            found.append(f"{name}: its curves are not all as long as its times")
        elif not all(np.isfinite(np.array(row[curve], np.float32)).all() for curve in (*_CURVES, "speech")):
            found.append(f"{name}: values that are not finite")
    return found


CHECKS = (
    Check(
        AUDIO_SIGNALS,
        "curves_valid",
        "One finite value of each curve for every tenth of a second.",
        nothing_wrong(_curves_fit),
        "select video_id, len(pts_ns) as tenths, len(loudness) as loudness, len(peak) as peak, len(true_peak) as "
        "true_peak, len(clipped) as clipped, len(speech) as speech from audio_signals where shard = $shard",
    ),
)

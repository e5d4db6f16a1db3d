"""What is said in a piece of sound, word by word: Whisper through faster-whisper, where a voice is heard."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.media.stream_times import NANOSECONDS
from gpu_kernels.sound.levels import TENTHS, VOICE_RATE
from gpu_kernels.sound.messages import TENTH_NS
from gpu_kernels.sound.voice_detector import VoiceCurve, VoiceNetwork

VOICE_FROM = 0.5
"""Probability from which a tenth of a second has a voice, as `audio_scores.speech_from` by default."""
_AROUND = 4
"""Tenths on both sides of a voice that belong to it: words begin softly and fade."""
_REPETITIVE = 2.4
"""Text that zlib makes smaller by more than this goes round in circles: Whisper's own limit."""
_NO_SPEECH = 0.6
"""Whisper's probability that nobody speaks, from which its words are not believed. It believes them itself where it is
sure of them; in the proof, words that nobody said had 0.63 and more, and those of people 0.46 at most."""


@dataclass(frozen=True)
class Word:
    """A word that was said.

    Attributes:
        text: as Whisper writes it: with the space before it where its language has one, and punctuation.
        start_ns, end_ns: on the clock that the sound is on.
        probability: the model's, 0 to 1.
    """

    text: str
    start_ns: int
    end_ns: int
    probability: float

    @property
    def middle_ns(self) -> int:
        """By which a word belongs to one clip alone."""
        return (self.start_ns + self.end_ns) // 2


@dataclass(frozen=True)
class Transcript:
    """What is said in a piece of sound.

    Attributes:
        start_ns, end_ns: of the piece.
        words: in the order of time.
        voices: bool [tenths]: where a voice is heard; None where nobody looked.
        language: two letters or three; None where there are no words.
        language_probability: how sure the model is of it; 1 where it was given.
    """

    start_ns: int
    end_ns: int
    words: tuple[Word, ...]
    voices: NDArray[np.bool_] | None
    language: str | None = None
    language_probability: float | None = None


class Recogniser:
    """Writes down what is said. On one thread: the words depend on the sound alone, and hardly on the machine.

    Args:
        folder: of a Whisper model in CTranslate2's format.
        language: what is spoken; None: the model says.

    Raises:
        NotThere: faster-whisper is not installed.
        UserError: the model cannot be loaded, or does not know the language.
    """

    def __init__(
        self, folder: Path, language: str | None, beam_size: int, compute_type: str, voices: VoiceNetwork | None
    ) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise NotThere(
                f"speech is written down by faster-whisper ({error}): pip install 'curate-graph[speech]'"
            ) from error
        try:
            self._model: Any = WhisperModel(
                str(folder), device="cpu", compute_type=compute_type, cpu_threads=1, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"the model in {folder} cannot be loaded by faster-whisper: {error}") from error
        known = self._model.supported_languages
        if language is not None and language not in known:
            raise UserError(f"speech.language is {language}, and the model knows {', '.join(sorted(known))} only")
        self._language, self._beam_size, self._voices = language, beam_size, voices

    def __call__(self, samples: NDArray[np.int16], start_ns: int = 0) -> Transcript:
        """What is said in at most 30 seconds of sound at 16 kHz.

        Args:
            start_ns: when it begins.
        """
        end_ns = start_ns + len(samples) * NANOSECONDS // VOICE_RATE
        tenths = len(samples) * TENTHS // VOICE_RATE + 1
        if not samples.any():
            return Transcript(start_ns, end_ns, (), None if self._voices is None else np.zeros(tenths, np.bool_))
        voices = self._heard(samples)
        near = np.ones(tenths, np.bool_) if voices is None else _widened(voices)
        if not near.any():
            return Transcript(start_ns, end_ns, (), voices)
        first, last = np.flatnonzero(near)[[0, -1]] * VOICE_RATE // TENTHS
        sound = samples[first : last + VOICE_RATE // TENTHS].astype(np.float32) / np.float32(32768)
        segments, about = self._model.transcribe(
            sound,
            language=self._language,
            beam_size=self._beam_size,
            temperature=0.0,  # others draw at random
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        begin_ns = start_ns + int(first) * NANOSECONDS // VOICE_RATE
        words = tuple(
            word
            for segment in segments
            if segment.compression_ratio <= _REPETITIVE and segment.no_speech_prob <= _NO_SPEECH
            for word in (_word(each, begin_ns, end_ns) for each in segment.words or ())
            if near[min((word.middle_ns - start_ns) // TENTH_NS, len(near) - 1)]
        )
        if voices is not None:
            words = tuple(_within_voices(word, voices, start_ns) for word in words)
        if not words:
            return Transcript(start_ns, end_ns, (), voices)
        return Transcript(start_ns, end_ns, words, voices, about.language, float(about.language_probability))

    def _heard(self, samples: NDArray[np.int16]) -> NDArray[np.bool_] | None:
        if self._voices is None:
            return None
        curve = VoiceCurve(self._voices)
        curve.add(samples)
        curve.finish()
        return curve.tenths() >= VOICE_FROM


def _word(found: Any, begin_ns: int, latest_ns: int) -> Word:
    start_ns, end_ns = (
        min(begin_ns + round(seconds * 1000) * (NANOSECONDS // 1000), latest_ns) for seconds in (found.start, found.end)
    )
    return Word(found.word, start_ns, max(start_ns, end_ns), float(found.probability))


def _within_voices(word: Word, voices: NDArray[np.bool_], start_ns: int) -> Word:
    """A word without the silence before and after it, which Whisper counts to the first and the last one."""
    first, last = (word.start_ns - start_ns) // TENTH_NS, (word.end_ns - start_ns) // TENTH_NS
    heard = first + np.flatnonzero(voices[first : last + 1])
    if not len(heard):
        return word
    begins, ends = (start_ns + int(tenth) * TENTH_NS for tenth in (heard[0], heard[-1] + 1))
    begin_ns = max(word.start_ns, begins - TENTH_NS)
    return replace(word, start_ns=begin_ns, end_ns=max(begin_ns, min(word.end_ns, ends + TENTH_NS)))


def _widened(voices: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voices, and _AROUND tenths on both sides of each."""
    counts = np.convolve(voices.astype(np.int64), np.ones(2 * _AROUND + 1, np.int64))
    return counts[_AROUND : _AROUND + len(voices)] > 0


# ---------------------------------------------------------------- of a clip


@dataclass(frozen=True)
class ClipSpeech:
    """What is said in a clip.

    Attributes:
        words: whose middles lie in it.
        language: in which most of them are; None where there are none.
        language_probability: the mean over these words.
        spoken: share of the clip in which a voice is heard; None where nobody looked.
    """

    words: tuple[Word, ...]
    language: str | None
    language_probability: float | None
    spoken: float | None

    @property
    def text(self) -> str:
        """The words as one text."""
        return "".join(word.text for word in self.words).strip()


def clip_speech(transcripts: Sequence[Transcript], start_ns: int, end_ns: int) -> ClipSpeech:
    """What is said in [start_ns, end_ns).

    Args:
        transcripts: of the pieces of sound that it touches, in order.
    """
    words: list[Word] = []
    sureness: dict[str, list[float]] = {}
    spoken, looked = 0, True
    for piece in transcripts:
        own = [word for word in piece.words if start_ns <= word.middle_ns < end_ns]
        words += own
        if piece.language is not None and piece.language_probability is not None:
            sureness.setdefault(piece.language, []).extend([piece.language_probability] * len(own))
        if piece.voices is None:
            looked = False
            continue
        begins = piece.start_ns + np.arange(len(piece.voices)) * TENTH_NS
        inside = np.minimum(begins + TENTH_NS, min(end_ns, piece.end_ns)) - np.maximum(begins, start_ns)
        spoken += int(inside[piece.voices].clip(0).sum())
    language = max(sureness, key=lambda each: (len(sureness[each]), each), default=None) if words else None
    return ClipSpeech(
        words=tuple(words),
        language=language,
        language_probability=float(np.mean(sureness[language])) if language is not None else None,
        spoken=min(1.0, spoken / max(1, end_ns - start_ns)) if looked else None,
    )

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy.signal import resample_poly

from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.scores.speech import SpeechConfig
from gpu_kernels.sound.recogniser import Recogniser, Transcript, Word, clip_speech
from gpu_kernels.sound.voice_detector import VoiceNetwork

SECOND = 1_000_000_000


def word(text: str, start: float, end: float) -> Word:
    return Word(text, int(start * SECOND), int(end * SECOND), 0.9)


def test_a_word_belongs_to_the_clip_of_its_middle_and_voices_count_by_their_share() -> None:
    heard = np.zeros(100, np.bool_)
    heard[5:25] = True
    english = Transcript(0, 10 * SECOND, (word(" One", 0.5, 1.5), word(" two", 1.8, 2.4)), heard, "en", 0.8)
    german = Transcript(10 * SECOND, 12 * SECOND, (word(" drei", 10.1, 10.5),), np.ones(20, np.bool_), "de", 0.6)
    first = clip_speech([english], 0, 2 * SECOND)
    assert (first.text, first.language, first.language_probability) == ("One", "en", 0.8)
    assert first.spoken == pytest.approx(1.5 / 2)
    second = clip_speech([english, german], 2 * SECOND, 12 * SECOND)
    assert second.text == "two drei" and second.language == "en"  # as many words of each: the later name
    assert second.spoken == pytest.approx((0.5 + 2) / 10)
    nothing = clip_speech([], 0, SECOND)
    assert (nothing.text, nothing.language, nothing.spoken) == ("", None, 0)


@pytest.mark.deep
def test_words_and_their_times_stay_the_same_when_more_is_around_them(speaker: ModuleType) -> None:
    """Silence before and after is cut away before Whisper sees it."""
    recognise = Recogniser(SpeechConfig(enabled=True).folder(), "en", 1, "int8", VoiceNetwork())
    said = speaker.said("en-us", "We will meet again at the station tomorrow morning.").samples
    samples = (resample_poly(said, 320, 441).clip(-1, 1) * 32767).astype(np.int16)
    found = {}
    for before in (1, 6):
        silence = np.zeros(before * 16_000, np.int16)
        transcript = recognise(np.concatenate([silence, samples, silence]), 7 * SECOND)
        found[before] = [(each.text, each.start_ns - (7 + before) * SECOND) for each in transcript.words]
    assert [text for text, _ in found[1]] == [text for text, _ in found[6]]
    assert found[1][-1][0] == " morning."
    np.testing.assert_allclose(*([at / SECOND for _, at in each] for each in found.values()), atol=0.11)
    assert recognise(samples[:0], 0).words == ()


def test_what_whisper_makes_up_is_left_out(monkeypatch) -> None:
    recognise = Recogniser(SpeechConfig(enabled=True).folder(), None, 1, "int8", None)
    heard = np.zeros(40, np.bool_)
    heard[10:20] = True
    monkeypatch.setattr(recognise, "_heard", lambda samples: heard)

    def segment(text: str, at: float, nobody: float = 0.2, repetition: float = 1.0) -> SimpleNamespace:
        said = SimpleNamespace(word=text, start=at, end=at + 0.2, probability=0.9)
        return SimpleNamespace(words=[said], no_speech_prob=nobody, compression_ratio=repetition)

    # Whisper is shown the voice and 0.4 s on both sides, from 0.6 s on; the last word is a second beyond it.
    segments = [segment(" Hm", 0.5, nobody=0.63), segment(" yes", 0.6), segment(" so so", 0.8, repetition=2.5)]
    segments.append(segment(" Thanks for watching!", 2.4))
    about = SimpleNamespace(language="en", language_probability=1.0)
    monkeypatch.setattr(recognise._model, "transcribe", lambda sound, **_: (segments, about))
    found = recognise(np.ones(64_000, np.int16), 5 * SECOND)
    assert [(each.text, each.start_ns) for each in found.words] == [(" yes", int(6.2 * SECOND))]


def test_what_cannot_be_used_is_named_with_the_remedy(tmp_path, monkeypatch) -> None:
    folder = SpeechConfig(enabled=True).folder()
    with pytest.raises(UserError, match=r"speech\.language is de, and the model knows en only"):
        Recogniser(folder, "de", 1, "int8", None)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(NotThere, match=r"pip install 'curate-graph\[speech\]'"):
        Recogniser(folder, None, 1, "int8", None)

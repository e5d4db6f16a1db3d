"""Words of synthesised speech, under real footage: voices, speeds and noise; and sounds in which nobody speaks."""

# pyright: basic

import re
import subprocess
import wave
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import DecodingLimits, reader_of
from gpu_kernels.scores.speech import SpeechConfig
from gpu_kernels.sound.hearing import hear
from gpu_kernels.sound.messages import Heard, HeardAll, HeardSound, SoundReader
from gpu_kernels.sound.recogniser import Recogniser, Word
from gpu_kernels.sound.track import TrackCutter, flac, samples_of
from gpu_kernels.sound.voice_detector import VoiceNetwork
from proofs.audio_scores import WITHOUT_SPEECH
from proofs.proof import Material, Proof
from proofs.speaker import RATE, USUAL_SPEED, said

SENTENCES = (
    "The weather in the mountains changes quickly in the spring.",
    "She opened the window and listened to the children in the garden.",
    "Our train leaves from the second platform in a few minutes.",
    "Please put the heavy boxes on the table near the door.",
    "He never told anybody where he had hidden the money.",
    "Most people in this village have worked at the harbor.",
    "You should add a little salt before the water boils.",
    "We watched the moon rise slowly above the quiet lake.",
)
PAUSES = (0.4, 1.5, 0.8)
"""Seconds of silence between sentences, in turn."""
VOICES = ("en-us", "en-us+f3", "en-gb-x-rp+m3", "en-gb-scotland+f2")
SPEEDS = (130, 220)
NOISES = (20, 10, 5, 0)
"""Decibels by which speech is louder than white noise."""
FILM = 10
"""And than the sound of a film."""


def prove(material: Material) -> Proof:
    """One row for each condition."""
    proof = Proof(("sound", "words", "wrong", "word error rate", "times: median (s)", "nine tenths within (s)"))
    background = _background(material)
    conditions: dict[str, list[tuple[str, int, int | None, np.ndarray | None]]] = {
        f"voice {voice}": [(voice, USUAL_SPEED, None, None)] for voice in VOICES
    }
    conditions |= {f"{speed} words a minute": [(v, speed, None, None) for v in VOICES[:2]] for speed in SPEEDS}
    conditions |= {
        f"{noise} dB over white noise": [(v, USUAL_SPEED, noise, None) for v in VOICES[:2]] for noise in NOISES
    }
    if background is not None:
        conditions[f"{FILM} dB over the sound of a film"] = [(v, USUAL_SPEED, FILM, background) for v in VOICES[:2]]
    rates: dict[str, float] = {}
    clean: list[float] = []
    for name, spoken in conditions.items():
        wrong = words = 0
        errors: list[float] = []
        for number, (voice, speed, noise, under) in enumerate(spoken):
            samples, truth = _program(voice, speed, material.seed + number)
            if noise is not None:
                samples = _noisy(samples, noise, under, material.seed + number)
            found = written_down(proof, _film(material, samples))
            off, matched = _compared(truth, found)
            wrong, words, errors = wrong + off, words + len(truth), errors + matched
        rates[name] = wrong / words
        if name.startswith("voice"):
            clean += errors
        proof.rows.append((name, words, wrong, rates[name], *_spread(errors)))
    invented = 0
    for name, samples in _without_words(material).items():
        found = written_down(proof, _film(material, samples))
        invented += len(found)
        everywhere = written_down(None, _film(material, samples), voices=False)
        proof.rows.append((f"{name} (without the voice detector: {len(everywhere)})", 0, len(found), "", "", ""))
    median, most = _spread(clean)
    proof.figures = {
        "word_error_rate": float(np.mean([rates[f"voice {voice}"] for voice in VOICES])),
        "word_error_rate_at_10_db": rates["10 dB over white noise"],
        "time_error_median_s": median,
        "time_error_of_nine_tenths_s": most,
        "invented_words": float(invented),
    }
    return proof


@cache
def _recogniser(voices: bool) -> Recogniser:
    settings = SpeechConfig(enabled=True)
    detector = VoiceNetwork() if voices else None
    return Recogniser(settings.folder(), settings.language, settings.beam_size, settings.compute_type, detector)


def written_down(proof: Proof | None, path: Path, voices: bool = True) -> list[Word]:
    """The words of a file's sound, as the scan and the asset make them; timed where there is a proof."""
    cutter, read, understood = TrackCutter(), SoundReader(), reader_of(Heard, HeardAll)
    pieces: list[tuple[bytes, int]] = []

    def send(header: dict, *buffers: memoryview) -> None:
        if header["kind"] == "progress":
            return
        found = read(understood(header, [memoryview(bytes(memoryview(each).cast("B"))) for each in buffers]))
        done = cutter.add(found.pts_ns, found.levels.voice) if isinstance(found, HeardSound) else cutter.finish()
        pieces.extend((flac(piece.samples), piece.start_ns) for piece in done)

    hear(send, DecodingLimits(), str(path), False)
    recognise = _recogniser(voices)

    def words() -> list[Word]:
        return [word for data, start in pieces for word in recognise(samples_of(data, "a piece"), start).words]

    if proof is None:
        return words()
    with proof.timed(_seconds(path)):
        return words()


def _seconds(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return (container.duration or 0) / 1e6


def _program(voice: str, speed: int, seed: int) -> tuple[np.ndarray, list[tuple[str, float | None]]]:
    """All sentences in some order, float [n] at RATE, and their words with the times at which these begin."""
    random = np.random.default_rng(seed)
    parts: list[np.ndarray] = [np.zeros(RATE)]
    truth: list[tuple[str, float | None]] = []
    for number, index in enumerate(random.permutation(len(SENTENCES))):
        sentence = said(voice, SENTENCES[index], speed)
        at = sum(map(len, parts)) / RATE
        truth += [(word, None if begins is None else at + begins) for word, begins in sentence.words]
        parts += [sentence.samples, np.zeros(round(PAUSES[number % len(PAUSES)] * RATE))]
    samples = np.concatenate(parts)
    return 0.5 * samples / np.abs(samples).max(), truth


def _noisy(samples: np.ndarray, decibels: float, under: np.ndarray | None, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(samples)) if under is None else np.resize(under, len(samples))
    loud = np.abs(samples) > 0.01
    level = np.sqrt((samples[loud] ** 2).mean() / (noise**2).mean()) / 10 ** (decibels / 20)
    mixed = samples + level * noise
    return 0.5 * mixed / np.abs(mixed).max()


def _background(material: Material) -> np.ndarray | None:
    """The sound of the first film that has some and in which nobody speaks."""
    import av

    for path in material.footage:
        if path.stem in WITHOUT_SPEECH:
            with av.open(str(path)) as container:
                if container.streams.audio:
                    resampler = av.AudioResampler("s16", "mono", RATE)
                    frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
                    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames]) / 32768
                    if np.abs(sound).max() > 0.01:
                        return sound
    return None


def _without_words(material: Material) -> dict[str, np.ndarray]:
    random, time = np.random.default_rng(material.seed), np.arange(25 * RATE) / RATE
    walk = np.cumsum(random.normal(size=len(time)))
    sounds = {
        "silence": 0 * time,
        "white noise": 0.1 * random.normal(size=len(time)),
        "rumble": 0.3 * (walk - np.convolve(walk, np.ones(999) / 999, "same")) / 30,
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "chords": 0.1 * sum(np.sin(2 * np.pi * tone * (1 + (time // 2 % 3) / 4) * time) for tone in (262, 330, 392)),
        "sweep": 0.3 * np.sin(2 * np.pi * (100 + 100 * time) * time),
        "clicks": (random.random(len(time)) < 2e-4).astype(float),
    }
    background = _background(material)
    return sounds if background is None else sounds | {"sound of a film": np.resize(background, len(time))}


def _film(material: Material, samples: np.ndarray) -> Path:
    """A real film, again and again, with a sound."""
    raw, path = material.scratch / "sound.wav", material.scratch / "speech.mkv"
    with wave.open(str(raw), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    picture = ["-stream_loop", "-1", "-i", str(material.footage[0]), "-i", str(raw), "-map", "0:v:0", "-map", "1:a"]
    codecs = ["-c:v", "copy", "-c:a", "aac", "-t", str(len(samples) / RATE)]
    subprocess.run([ffmpeg_executable(), "-v", "error", "-y", *picture, *codecs, str(path)], check=True)
    return path


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("harbour", "harbor"))


def _compared(truth: Sequence[tuple[str, float | None]], found: Sequence[Word]) -> tuple[int, list[float]]:
    """How many words are wrong, missing or too many, and by how much the others begin beside their time."""
    said_ = [_plain(word) for word, _ in truth]
    heard = [_plain(word.text) for word in found]
    costs = np.zeros((len(said_) + 1, len(heard) + 1), int)
    costs[:, 0], costs[0] = np.arange(len(said_) + 1), np.arange(len(heard) + 1)
    for i in range(1, len(said_) + 1):
        for j in range(1, len(heard) + 1):
            same = costs[i - 1, j - 1] + (said_[i - 1] != heard[j - 1])
            costs[i, j] = min(same, costs[i - 1, j] + 1, costs[i, j - 1] + 1)
    errors, i, j = list[float](), len(said_), len(heard)
    while i and j:
        if costs[i, j] == costs[i - 1, j - 1] + (said_[i - 1] != heard[j - 1]):
            begins = truth[i - 1][1]
            if said_[i - 1] == heard[j - 1] and begins is not None:
                errors.append(abs(found[j - 1].start_ns / 1e9 - begins))
            i, j = i - 1, j - 1
        elif costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return int(costs[-1, -1]), errors


def _spread(errors: Sequence[float]) -> tuple[float, float]:
    return float(np.median(errors)), float(np.quantile(errors, 0.9))

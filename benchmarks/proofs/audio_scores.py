"""The sound of clips: levels against FFmpeg's meter, planted clipping, silence and gaps, synthesised speech."""

# pyright: basic

import re
import subprocess
import wave
from functools import cache
from pathlib import Path

import numpy as np

from gpu_kernels.media.ffmpeg import ffmpeg_executable
from gpu_kernels.sandbox import DecodingLimits, reader_of
from gpu_kernels.scores.audio import AudioScoresConfig, Sound, audio_scores
from gpu_kernels.sound.hearing import hear
from gpu_kernels.sound.messages import TENTH_NS, Heard, HeardAll, HeardSound, SoundEnd, SoundReader
from gpu_kernels.sound.voice_detector import VoiceCurve, VoiceNetwork
from proofs.proof import Material, Proof, precision_recall
from proofs.speaker import RATE, said

SENTENCES = {
    "en-us": ("The quick brown fox jumps over the lazy dog.", "We will meet again at the station tomorrow morning."),
    "de": ("Der Zug nach Hamburg faehrt heute von Gleis sieben.", "Guten Abend, meine Damen und Herren."),
    "fr": ("Bonjour, je voudrais un cafe et deux croissants.", "Nous partons en vacances la semaine prochaine."),
    "es": ("El perro duerme debajo de la mesa grande.", "Buenas noches a todos nuestros oyentes."),
    "cmn": ("今天天气很好，我们去公园散步。", "请问火车站怎么走？"),
}
VARIANTS = ("", "+f3")
NOISES = (None, 20, 10, 5, 0)
"""Decibels by which speech is louder than white noise."""
CUT = 1.5
"""Seconds of sound that are taken from the beginning, or the end."""


def prove(material: Material) -> Proof:
    """One row for each kind of sound, with what was planted and what was found."""
    proof = Proof(("sound", "planted", "found", "largest error"))
    _loudness(proof, material)
    _clipping(proof, material)
    _silence(proof, material)
    _ends(proof, material)
    _speech(proof, material)
    return proof


@cache
def _network() -> VoiceNetwork:
    return VoiceNetwork()


def heard(proof: Proof, path: Path) -> Sound:
    """A file's sound, as the scan and the asset make it."""
    parts: list[HeardSound] = []
    ends: list[SoundEnd] = []
    read = SoundReader()
    understood = reader_of(Heard, HeardAll)

    def send(header: dict, *buffers: memoryview) -> None:
        if header["kind"] == "progress":
            return
        found = read(understood(header, [memoryview(bytes(memoryview(each).cast("B"))) for each in buffers]))
        if isinstance(found, HeardSound):
            parts.append(found)
        else:
            ends.append(found)

    _network()
    speech: list[np.ndarray] = []
    with proof.timed(_seconds(path)):
        hear(send, DecodingLimits(), str(path), False)
        curve, length = None, 0
        for part in parts:
            if curve is None or part.anew:
                if curve is not None:
                    curve.finish()
                    speech.append(np.resize(curve.tenths(), length))
                curve, length = VoiceCurve(_network()), 0
            curve.add(part.levels.voice)
            length += len(part.levels.loudness)
        if curve is not None:
            curve.finish()
            speech.append(np.resize(curve.tenths(), length))
    joined = {
        name: np.concatenate([*(getattr(part.levels, name) for part in parts), np.zeros(0, np.float32)])
        for name in ("loudness", "peak", "true_peak", "clipped")
    }
    times = [part.pts_ns + np.arange(len(part.levels.loudness)) * TENTH_NS for part in parts]
    (end,) = ends
    return Sound(
        pts_ns=np.concatenate([*times, np.zeros(0, np.int64)]),
        **joined,
        speech=np.concatenate([*speech, np.zeros(0, np.float32)]),
        start_ns=end.start_ns,
        end_ns=end.end_ns,
    )


def scores(sound: Sound, seconds: float):
    return audio_scores(sound, 0, round(seconds * 1e9), AudioScoresConfig())


def _seconds(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return (container.duration or 0) / 1e6


def _made(material: Material, name: str, samples: np.ndarray, codec: str = "aac", delay: float = 0.0) -> Path:
    """A video with a sound, float [n] or [n, channels] at RATE; both begin at 0 unless the sound is delayed."""
    samples = samples.reshape(len(samples), -1)
    raw, path = material.scratch / "sound.wav", material.scratch / f"{name}.mkv"
    with wave.open(str(raw), "wb") as file:
        file.setparams((samples.shape[1], 2, RATE, 0, "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    seconds = len(samples) / RATE + delay
    picture = ["-f", "lavfi", "-i", f"color=s=64x48:r=10:d={seconds}"]
    sound = ["-itsoffset", str(delay), "-i", str(raw)]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", codec]
    command = [ffmpeg_executable(), "-v", "error", "-y", *picture, *sound, *codecs, str(path)]
    subprocess.run(command, check=True)
    return path


def _ebur128(path: Path) -> tuple[float, float]:
    """Integrated loudness and true peak, as FFmpeg's filter finds them."""
    command = [ffmpeg_executable(), "-nostdin", "-hide_banner", "-i", str(path), "-map", "0:a:0"]
    command += ["-af", "aresample=48000,ebur128=peak=true", "-f", "null", "-"]
    summary = subprocess.run(command, capture_output=True, text=True).stderr.rpartition("Summary:")[2]
    found = [re.findall(pattern, summary)[0] for pattern in (r"I:\s+(\S+) LUFS", r"Peak:\s+(\S+) dBFS")]
    return float(found[0]), float(found[1])


def _loudness(proof: Proof, material: Material) -> None:
    time = np.arange(8 * RATE) / RATE
    errors, peaks = [], []
    files = []
    for level in (-40, -30, -23, -16, -9):
        for tone in (60, 997, 6000):
            swell = 10 ** (level / 20) * np.sin(2 * np.pi * tone * time) * (0.3 + 0.7 * np.sin(0.9 * time) ** 2)
            files.append(_made(material, f"tone_{tone}_{level}", swell))
    for path in (*files, *(each for each in material.footage if _has_sound(each))):
        loudness, peak = _ebur128(path)
        found = scores(heard(proof, path), _seconds(path))
        if loudness > -69:  # that of silence is -70
            errors.append(abs(found.loudness - loudness))
            peaks.append(abs(found.true_peak - peak))
    kinds = f"{len(files)} tones that swell, and {len(errors) - len(files)} films"
    proof.rows.append((f"{kinds}: loudness", "as by ebur128", "", f"{max(errors):.2f} LU"))
    proof.rows.append((f"{kinds}: true peak", "as by ebur128", "", f"{max(peaks):.2f} dB"))
    proof.figures |= {"loudness_error": max(errors), "true_peak_error": max(peaks)}


def _clipping(proof: Proof, material: Material) -> None:
    clean = np.concatenate([said("en-us", text).samples for text in SENTENCES["en-us"]])
    clean = clean / np.abs(clean).max()
    found, true = {}, {}
    for codec in ("pcm_s16le", "aac", "libopus"):
        for gain in (-6, -1, 3, 6, 12, 20):
            loud = clean * 10 ** (gain / 20)
            share = scores(heard(proof, _made(material, f"clip_{codec}_{gain}", loud, codec)), len(loud) / RATE).clipped
            planted = float((np.abs(loud) >= 1).mean())
            name = f"speech by {gain} dB over full scale, {codec}"
            found[name], true[name] = share >= 0.0005, gain > 0
            proof.rows.append((name, f"{planted:.4f} clipped", f"{share:.4f}", ""))
    precision, recall = precision_recall(found, true)
    proof.rows.append(("clipped by `sound_clipped` > 0.0005", sum(true.values()), sum(found.values()), ""))
    proof.figures |= {"clipping_precision": precision, "clipping_recall": recall}


def _silence(proof: Proof, material: Material) -> None:
    random, errors, wrong = np.random.default_rng(material.seed), [], 0
    for share in (0.0, 0.25, 0.5, 1.0):
        for quiet in (0.0, 1e-4):  # digital silence, and noise at -80 dBFS
            sound = 0.1 * random.normal(size=8 * RATE)
            still = round(share * len(sound))
            sound[:still] = quiet * random.normal(size=still)
            found = scores(heard(proof, _made(material, "silence", sound, "pcm_s16le")), 8.0)
            errors.append(abs(found.silent - share))
            wrong += abs(found.digital_silence - (share if not quiet else 0)) > 0.03
    proof.rows.append(("stretches of digital silence and of faint noise: share", "0 to 1", "", f"{max(errors):.3f}"))
    proof.rows.append(("of 8, digital silence told from faint noise", 8, 8 - wrong, ""))
    proof.figures |= {"silence_error": max(errors), "digital_silence_wrong": float(wrong)}


def _ends(proof: Proof, material: Material) -> None:
    errors = []
    sound = 0.1 * np.random.default_rng(material.seed).normal(size=6 * RATE)
    for codec in ("aac", "pcm_s16le", "libopus"):
        late = scores(heard(proof, _made(material, "late", sound, codec, delay=CUT)), 6 + CUT)
        early = scores(heard(proof, _made(material, "early", sound, codec)), 6 + CUT)
        errors += [abs(late.starts_late_s - CUT), abs(early.ends_early_s - CUT), late.ends_early_s, early.starts_late_s]
        errors += [abs(each.missing - CUT / (6 + CUT)) * (6 + CUT) for each in (late, early)]
    proof.rows.append(("sound that begins late or ends early", f"{CUT} s", "", f"{max(errors):.3f} s"))
    proof.figures["ends_error_s"] = max(errors)


def _speech(proof: Proof, material: Material) -> None:
    random = np.random.default_rng(material.seed)
    recalls, clips_found, clips_true = {}, {}, {}
    for noise in NOISES:
        hits = misses = false = quiet = 0
        for language, texts in SENTENCES.items():
            for variant in VARIANTS:
                pause, sound, spoken = np.zeros(RATE), [np.zeros(RATE)], [np.zeros(RATE, bool)]
                for text in texts:
                    words = said(language + variant, text).samples
                    sound += [words, pause]
                    spoken += [np.ones(len(words), bool), np.zeros(RATE, bool)]
                samples, truth = np.concatenate(sound), np.concatenate(spoken)
                if noise is not None:
                    level = np.sqrt((samples[truth] ** 2).mean()) / 10 ** (noise / 20)
                    samples = samples + level * random.normal(size=len(samples))
                samples = 0.5 * samples / np.abs(samples).max()
                found = heard(proof, _made(material, "speech", samples))
                tenth = RATE // 10
                inside = np.array([truth[at : at + tenth].mean() for at in range(0, len(truth) - tenth, tenth)])
                sure = np.array(
                    [
                        len({*truth[max(0, at - 3 * tenth) : at + 4 * tenth]}) == 1
                        for at in range(0, len(truth) - tenth, tenth)
                    ]
                )
                assert found.speech is not None
                count = min(len(inside), len(found.speech))
                says = found.speech[:count] >= 0.5
                is_true, sure = inside[:count] > 0.5, sure[:count]
                hits += int((says & is_true & sure).sum())
                misses += int((~says & is_true & sure).sum())
                false += int((says & ~is_true & sure).sum())
                quiet += int((~says & ~is_true & sure).sum())
                name = f"{language}{variant} {noise}"
                clips_found[name], clips_true[name] = (scores(found, len(samples) / RATE).speech or 0) >= 0.1, True
        recalls[noise] = hits / max(1, hits + misses)
        what = "without noise" if noise is None else f"{noise} dB over white noise"
        proof.rows.append((f"synthesised speech in 5 languages, {what}: tenths of speech", hits + misses, hits, ""))
        proof.rows.append(("and of the pauses between", false + quiet, f"{false} as speech", ""))
        if noise is None:
            proof.figures["pauses_called_speech"] = false / max(1, false + quiet)
    time = np.arange(6 * RATE) / RATE
    still = {
        "silence": 0 * time,
        "white noise": 0.1 * random.normal(size=len(time)),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "chord": 0.1 * sum(np.sin(2 * np.pi * tone * time) for tone in (262, 330, 392)),
        "sweep": 0.3 * np.sin(2 * np.pi * (100 + 400 * time) * time),
        "clicks": (random.random(len(time)) < 2e-4).astype(float),
    }
    names = {name: _made(material, name.replace(" ", "_"), samples) for name, samples in still.items()}
    names |= {path.stem: path for path in material.footage if _has_sound(path) and path.stem in WITHOUT_SPEECH}
    for name, path in names.items():
        found = scores(heard(proof, path), _seconds(path))
        clips_found[name], clips_true[name] = (found.speech or 0) >= 0.1, False
        proof.rows.append((f"{name}: share of speech", 0, found.speech, ""))
    precision, recall = precision_recall(clips_found, clips_true)
    proof.rows.append(
        ("clips with speech, by `speech` >= 0.1", sum(clips_true.values()), sum(clips_found.values()), "")
    )
    proof.figures |= {
        "speech_precision": precision,
        "speech_recall": recall,
        "speech_recall_of_tenths": recalls[None],
        "speech_recall_of_tenths_at_10_db": recalls[10],
    }


WITHOUT_SPEECH = {"bigbuckbunny", "01_dog", "02_cups", "03_blocks", "04_coffee", "car-detection", "crystal", "elf"}
WITHOUT_SPEECH |= {"frog", "monster", "pig", "rabbit"}
"""Films whose sound was listened to, or measured elsewhere: music, rooms, digital silence."""


def _has_sound(path: Path) -> bool:
    import av

    with av.open(str(path)) as container:
        return bool(container.streams.audio)

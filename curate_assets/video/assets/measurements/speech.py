"""`speech`: what is said in every clip, word by word, from the track that the scan stored."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.speech_tracks import SPEECH_TRACKS
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.models.fetching import ensure
from curate_resources.storage.root import Storage
from gpu_kernels.scores.speech import SpeechConfig
from gpu_kernels.shots.splitting import SECOND
from gpu_kernels.sound.recogniser import Recogniser, Transcript, clip_speech
from gpu_kernels.sound.track import samples_of
from gpu_kernels.sound.voice_detector import VoiceNetwork

_WORD = pa.struct(
    [("word", pa.string()), ("start_ns", pa.int64()), ("end_ns", pa.int64()), ("probability", pa.float32())]
)

SPEECH = Table(
    name="speech",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("speech",),
    model=lambda config: config.speech.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column(
            "speech_status",
            pa.string(),
            "`words`; `no_words`: there is sound, and no words were found in it; `no_sound`: there is none in the clip",
        ),
        Column("language", pa.string(), "in which most of its words are; null without words"),
        Column("language_probability", pa.float32(), "how sure the model is of it; 1 where the language was given"),
        Column("text", pa.string(), "the words as one text; empty without any", text=True),
        Column(
            "words",
            pa.list_(_WORD),
            "each word with its times on the video's clock, and how sure the model is of it, 0 to 1",
        ),
        Column("words_per_second", pa.float32(), "words per second of the clip; 0 without any"),
        Column(
            "spoken",
            pa.float32(),
            "share of the clip in which a voice is heard; null with `speech.voice_detector: none`",
        ),
        Column("model", pa.string(), "what wrote it down, and what detected voices"),
        Column("model_revision", pa.string(), "what pins them: see [models](models.md#what-pins-a-model)"),
    ),
    description=(
        "What is said in every clip, word by word with times, by a Whisper model. A word belongs to the clip in which "
        "its middle lies. Sound is taken in pieces of at most 28 seconds, whose words do not depend on the clips."
    ),
)

_REMEMBERED = 64
"""Pieces whose words a worker remembers: neighbouring clips share them, and clips of a video come in order."""


def open_recogniser(config: Any, storage: Storage) -> Worker:
    """A worker that writes down what is said."""
    settings: SpeechConfig = config.speech
    voices = VoiceNetwork() if settings.voice_detector == "silero" else None
    recognise = Recogniser(settings.folder(), settings.language, settings.beam_size, settings.compute_type, voices)
    name, revision = settings.identity()
    known: OrderedDict[str, Transcript] = OrderedDict()

    def transcript(piece: Row) -> Transcript:
        path = piece["path"]
        if path not in known:
            known[path] = recognise(samples_of(_file(storage, path), storage.uri(path)), piece["start_ns"])
            if len(known) > _REMEMBERED:
                known.popitem(last=False)
        return known[path]

    def write_down(work: Work) -> Mapping[str, list[Row]]:
        tracks: dict[str, list[Row]] = {}
        for piece in work.inputs[SPEECH_TRACKS.name].to_pylist():
            if piece["status"] != "failed":
                tracks.setdefault(piece["video_id"], []).append(piece)
        rows: list[Row] = []
        for clip in work.items.select(["video_id", "clip_id", "start_ns", "end_ns"]).to_pylist():
            if clip["video_id"] not in tracks:
                raise ValueError("the video has no speech track: see the error of its row in speech_tracks")
            start_ns, end_ns = clip["start_ns"], clip["end_ns"]
            touched = [
                piece
                for piece in tracks[clip["video_id"]]
                if piece["status"] == "ok" and piece["start_ns"] < end_ns and piece["end_ns"] > start_ns
            ]
            found = clip_speech([transcript(piece) for piece in touched], start_ns, end_ns)
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "speech_status": "words" if found.words else "no_words" if touched else "no_sound",
                    "language": found.language,
                    "language_probability": found.language_probability,
                    "text": found.text,
                    "words": [
                        {
                            "word": word.text.strip(),
                            "start_ns": word.start_ns,
                            "end_ns": word.end_ns,
                            "probability": word.probability,
                        }
                        for word in found.words
                    ],
                    "words_per_second": len(found.words) * SECOND / (end_ns - start_ns),
                    "spoken": found.spoken if touched or voices is None else 0.0,
                    "model": name,
                    "model_revision": revision,
                }
            )
        return {SPEECH.name: rows}

    return write_down


def _file(storage: Storage, path: str) -> bytes:
    try:
        return storage.read(path)
    except FileNotFoundError as error:
        again = "`curate materialize --select speech_tracks --force` of its shard makes it again"
        raise FileNotFoundError(f"{storage.uri(path)} is gone: {again}") from error


def fetch_model(config: Any, _: Storage) -> None:
    """Once per machine."""
    ensure(config.speech.models(), config.models)


WRITE_DOWN = Stage(
    name="write_down",
    item=CLIPS.name,
    reads=(SPEECH_TRACKS.name,),
    writes=(SPEECH,),
    open=open_recogniser,
    prepare=fetch_model,
    heavy=True,
    idle=unless_enabled("speech"),
    gates=(SO_FAR,),
    eligible=unless_rejected("speech"),
)

SCORES = (
    Score(
        "words_per_second",
        "Words per second",
        ("words_per_second",),
        scale="values",
        thresholds=(
            at_least("Fewest words per second of a clip: 0.5 keeps clips in which people talk.", ge=0),
            at_most("Most words per second of a clip: 0 keeps clips without words.", ge=0),
        ),
    ),
)

ASSET = Asset(
    SPEECH,
    WRITE_DOWN,
    "measurements",
    scores=SCORES,
    recorded=Record("speech", ("language", "text", "words_per_second")),
    section=SpeechConfig,
    exported=True,
)

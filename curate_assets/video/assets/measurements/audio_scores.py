"""`audio_scores`: what the sound of every clip comes to, from the signals over time."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least, at_most
from curate_assets.video.assets.audio_signals import AUDIO_SIGNALS, sound_of
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.measuring import unless_enabled
from curate_resources.declarations.stage import Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.audio import AudioScoresConfig, audio_scores

AUDIO_SCORES = Table(
    name="audio_scores",
    grain="clip",
    keys=("video_id", "clip_id"),
    version="2",
    sections=("audio_scores",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column(
            "loudness",
            pa.float32(),
            "integrated loudness of the clip in LUFS (EBU R128); -70 where nothing is louder, or there is no sound",
        ),
        Column("loudness_range", pa.float32(), "loudness range in LU (EBU Tech 3342); 0 in clips shorter than 3 s"),
        Column("loudest", pa.float32(), "greatest loudness of 0.4 seconds, in LUFS; -70 at least"),
        Column("true_peak", pa.float32(), "greatest peak, between samples, too, in dBTP; -120 at least"),
        Column("silent", pa.float32(), "share of the clip that is quieter than `audio_scores.silent_below`"),
        Column("digital_silence", pa.float32(), "share of the clip in which all samples are zero"),
        Column("clipped", pa.float32(), "share of samples that are clipped: three or more in a row at full scale"),
        Column(
            "speech",
            pa.float32(),
            "share of the clip in which somebody speaks; null with `audio_signals.voice_detector: none`",
        ),
        Column("missing", pa.float32(), "share of the clip that has no sound; it counts as silent, too"),
        Column("starts_late_s", pa.float32(), "seconds by which the video's sound begins later than the clip"),
        Column("ends_early_s", pa.float32(), "seconds by which the video's sound ends before the clip does"),
    ),
    description=(
        "The sound of every clip: loudness, peak, and the shares of silence, clipping, speech and missing sound. A "
        "clip without sound is silent throughout."
    ),
)


def open_audio_scorer(config: Any, storage: Storage) -> Worker:
    """A worker that puts tenths of a second together."""
    settings: AudioScoresConfig = config.audio_scores

    def score(work: Work) -> Mapping[str, list[Row]]:
        signals = {row["video_id"]: row for row in work.inputs[AUDIO_SIGNALS.name].to_pylist()}
        sounds = {video: sound_of(row) for video, row in signals.items() if row["status"] != "failed"}
        rows: list[Row] = []
        for clip in work.items.select(["video_id", "clip_id", "start_ns", "end_ns"]).to_pylist():
            sound = sounds.get(clip["video_id"])
            if sound is None:
                raise ValueError("the video has no audio signals: see the error of its row in audio_signals")
            found = audio_scores(sound, clip["start_ns"], clip["end_ns"], settings)
            rows.append({"video_id": clip["video_id"], "clip_id": clip["clip_id"], **asdict(found)})
        return {AUDIO_SCORES.name: rows}

    return score


SCORE_AUDIO = Stage(
    name="score_audio",
    item=CLIPS.name,
    reads=(AUDIO_SIGNALS.name,),
    writes=(AUDIO_SCORES,),
    open=open_audio_scorer,
    idle=unless_enabled("audio_signals"),
)

SCORES = (
    Score(
        "loudness",
        "Loudness",
        ("loudness",),
        unit="LUFS",
        scale="values",
        thresholds=(
            at_least("Least loudness of a clip in LUFS. A clip without sound has -70.", ge=-70, le=0),
            at_most("Greatest loudness of a clip in LUFS.", ge=-70, le=0),
        ),
    ),
    Score(
        "true_peak",
        "True peak",
        ("true_peak",),
        unit="dBTP",
        scale="values",
        thresholds=(at_most("Greatest true peak of a clip in dBTP; EBU R128 has -1.", ge=-120, le=60),),
    ),
    Score(
        "silent",
        "Silence",
        ("silent",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of a clip that is quieter than `audio_scores.silent_below`.", ge=0, le=1),),
    ),
    Score(
        "digital_silence",
        "Digital silence",
        ("digital_silence",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of a clip in which all samples are zero.", ge=0, le=1),),
    ),
    Score(
        "sound_clipped",
        "Clipped samples",
        ("clipped",),
        within=(0, 1),
        thresholds=(at_most("Greatest share of a clip's samples that are clipped.", ge=0, le=1),),
    ),
    Score(
        "speech",
        "Speech",
        ("speech",),
        within=(0, 1),
        thresholds=(
            at_least("Least share of a clip in which somebody speaks.", ge=0, le=1),
            at_most("Greatest share of a clip in which somebody speaks.", ge=0, le=1),
        ),
    ),
    Score(
        "sound_missing",
        "Missing sound",
        ("missing",),
        within=(0, 1),
        thresholds=(
            at_most("Greatest share of a clip that has no sound, as where it ends before the pictures.", ge=0, le=1),
        ),
    ),
)


def speech_is_looked_for(config: Any) -> None:
    """Sees that a threshold on speech has something to go by.

    Raises:
        ValueError: nobody listens for voices.
    """
    limits = config.clip_selection
    wanted = next((name for name in ("speech_min", "speech_max") if getattr(limits, name) is not None), None)
    if wanted and config.audio_signals.voice_detector == "none":
        raise ValueError(
            f"clip_selection.{wanted} needs audio_signals.voice_detector: with none, speech is not measured"
        )


ASSET = Asset(
    AUDIO_SCORES,
    SCORE_AUDIO,
    "measurements",
    scores=SCORES,
    recorded=Record("audio", ("loudness", "silent", "speech", "missing")),
    section=AudioScoresConfig,
    agrees=speech_is_looked_for,
    exported=True,
)

"""`motion_scores`: pictures that pan by known steps, stand still or show something small that moves, by codecs."""

# pyright: basic

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from curate_assets.video.verdicts import THRESHOLDS
from gpu_kernels.sandbox import DecodingLimits, Nursery
from gpu_kernels.scan.motion_sampler import MotionSampler
from gpu_kernels.scan.scan import ScanChunk, read_scan
from gpu_kernels.scores.motion import MotionSignalsConfig, SpanMotion, span_motion
from proofs.films import encoded, film
from proofs.proof import Material, Proof

RATE, SECONDS = 25, 4
FRAMES = RATE * SECONDS
WIDTH, HEIGHT = 640, 360
_X264 = ("-c:v", "libx264", "-crf", "23", "-preset")
CODECS = {
    "H.264, veryfast": (*_X264, "veryfast"),
    "H.264, medium": (*_X264, "medium"),
    "H.264, no B-frames": (*_X264, "veryfast", "-bf", "0"),
    "MPEG-2": ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "3"),
    "MPEG-4": ("-c:v", "mpeg4", "-q:v", "4"),
    "HEVC": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
    "VP9": ("-c:v", "libvpx-vp9", "-b:v", "0", "-crf", "32", "-deadline", "realtime", "-cpu-used", "8"),
}
_PANS = (0.5, 2.0, 10.0)
_LAZY = "MPEG-4"
"""The encoder of libavcodec does not look far, and moves what stands still: it is in the table, and in no figure."""
_LEAST = next(each.default for each in THRESHOLDS if each.setting == "motion_peak_min") or 0.0
_THING = (24, 48)


def _seen(picture: np.ndarray, draw: np.random.Generator, pan: float, noise: float, thing: float) -> np.ndarray:
    """A window that moves over a picture by so many pixels a frame, with a sensor's noise and a thing that moves."""
    colour, found = draw.integers(0, 255, 3), []
    for number in range(FRAMES):
        shift = np.array([[1.0, 0.0, -40 - pan * number], [0.0, 1.0, -40.0]])
        seen = cv2.warpAffine(picture, shift, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        if thing:
            left = 60 + round(thing * number)
            seen[150 : 150 + _THING[1], left : left + _THING[0]] = colour
        if noise:
            grain = draw.standard_normal(seen.shape, np.float32) * noise
            seen = (seen + grain).clip(0, 255).astype(np.uint8)
        found.append(seen)
    return np.stack(found)


def _measured(nursery: Nursery, path: Path) -> SpanMotion | None:
    chunks = read_scan(nursery, str(path), MotionSignalsConfig(), ())
    samples = [sample for chunk in chunks if isinstance(chunk, ScanChunk) for sample in chunk.motion]
    if not samples:
        return None
    frames, distances = (np.array([getattr(each, name) for each in samples]) for name in ("frame", "distance"))
    return span_motion(frames, distances, np.stack([each.patches for each in samples]), 0, int(frames[-1]) + 1)


def prove(material: Material) -> Proof:
    """Pans by every codec, stills by every codec and with noise, small things that move; and films as they are."""
    proof = Proof(["what", "encoded as", "videos", "moves by, pixels per frame", "measured", "kept by the default"])
    draw = np.random.default_rng(material.seed)
    pictures = [film(path, 1, RATE, 1280, 720)[0] for path in material.footage if "distorted" not in path.stem][:3]
    kept: dict[str, list[bool]] = {"still": [], "moving": [], "films": []}
    errors: list[float] = []

    with Nursery(DecodingLimits()) as nursery:

        def row(what: str, codec: str, truth: float | None, seen: Callable[[np.ndarray], np.ndarray]) -> list[bool]:
            paths = [
                encoded(material.scratch / f"{i}.mkv", seen(each), RATE, CODECS[codec])
                for i, each in enumerate(pictures)
            ]
            return told(what, codec, truth, paths)

        def told(what: str, codec: str, truth: float | None, paths: Sequence[Path]) -> list[bool]:
            found = [each for each in (_measured(nursery, path) for path in paths) if each is not None]
            moving = [each.peak >= _LEAST for each in found]
            measured = float(np.median([each.mean for each in found])) * (WIDTH + HEIGHT)
            shown = ["", ""] if truth is None else [truth, measured]
            proof.rows.append([what, codec, len(found), *shown, sum(moving)])
            if truth and truth >= 2 and codec != _LAZY:
                errors.append(abs(measured / truth - 1))
            return moving

        for pan in _PANS:
            for codec in CODECS:
                kept["moving"] += row("a pan", codec, pan, lambda each, pan=pan: _seen(each, draw, pan, 2, 0))
        for codec in CODECS:
            found = row("a still", codec, 0.0, lambda each: _seen(each, draw, 0, 0, 0))
            kept["still"] += found if codec != _LAZY else []
        for codec in ("H.264, veryfast", "HEVC", "VP9"):
            row("a still with light noise", codec, 0.0, lambda each: _seen(each, draw, 0, 2, 0))
        row("a still with much noise", "H.264, veryfast", 0.0, lambda each: _seen(each, draw, 0, 12, 0))
        for codec in ("H.264, veryfast", "H.264, medium", "HEVC", "VP9"):
            thing = row("something of 24x48 crosses a still", codec, None, lambda each: _seen(each, draw, 0, 0, 3.2))
            kept["moving"] += thing
        kept["films"] += told("films as they are", "", None, material.footage)
    proof.figures = {
        "pan_error": max(errors),
        "still_rejected": 1 - float(np.mean(kept["still"])),
        "moving_kept": float(np.mean(kept["moving"])),
        "films_kept": float(np.mean(kept["films"])),
    }
    _timed(proof, material.footage)
    return proof


def _timed(proof: Proof, footage: Sequence[Path]) -> None:
    """What sampling costs beside decoding."""
    for path in footage:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"flags2": "+export_mvs"}
            sampler, end = MotionSampler(MotionSignalsConfig(), stream, None), 0.0
            for index, frame in enumerate(container.decode(stream)):
                end = frame.time or 0.0
                with proof.timed(0):
                    sampler.take(index, round(end * 1e9), frame)
        proof.video_seconds += end

"""`camera_motion`: a window that is moved over frames of real films, and films that run before a moving window."""

# pyright: basic

from pathlib import Path

import cv2
import numpy as np

from gpu_kernels.media.scaler import Scaler
from gpu_kernels.sandbox import DecodingLimits, Nursery
from gpu_kernels.scan.frame_sampler import FrameSignalsConfig, small_size
from gpu_kernels.scan.scan import ScanChunk, read_scan
from gpu_kernels.scores.camera_motion import CameraMotion, camera_motion, camera_step
from proofs.films import encoded, film, timed_samples
from proofs.proof import Material, Proof

RATE, FRAMES = 25, 75
WIDTH, HEIGHT = 480, 270
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23"]
KINDS = {
    "static": {},
    "pan_right": {"pan": 2.0},
    "pan_left": {"pan": -0.75},
    "tilt_up": {"tilt": 1.0},
    "tilt_down": {"tilt": -1.5},
    "pan_right_tilt_down": {"pan": 1.2, "tilt": -1.0},
    "zoom_in": {"zoom": 0.004},
    "zoom_out": {"zoom": -0.003},
    "roll_right": {"roll": 0.25},
    "shake": {"shake": 2.0},
}
"""Per frame: pixels, shares of the size, degrees clockwise."""


def moved(frames: np.ndarray, draw: np.random.Generator, pan=0.0, tilt=0.0, zoom=0.0, roll=0.0, shake=0.0):
    """A window over larger pictures, as a camera that moves so would see them, with a sensor's noise."""
    height, width = frames.shape[1:3]
    middle, found = (len(frames) - 1) / 2, []
    for number, picture in enumerate(frames):
        at = number - middle
        wobble = shake * np.sin(2 * np.pi * number / RATE * np.array([4.1, 5.3]) + [0, 1])
        x, y = width / 2 + pan * at + wobble[0], height / 2 - tilt * at + wobble[1]
        turned = cv2.getRotationMatrix2D((x, y), roll * at, (1 + zoom) ** at)
        turned[:, 2] += [WIDTH / 2 - x, HEIGHT / 2 - y]
        seen = cv2.warpAffine(picture, turned, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        found.append((seen + draw.normal(0, 2, seen.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(found)


def measured(nursery: Nursery, path: Path, proof: Proof) -> CameraMotion:
    """Of a whole file, as the scan and the asset measure it."""
    chunks = read_scan(nursery, str(path), None, (), frame_signals=FrameSignalsConfig())
    samples = [each for chunk in chunks if isinstance(chunk, ScanChunk) for each in chunk.samples]
    steps = np.array([list(each.step) for each in samples]).reshape(-1, 6)
    return camera_motion(steps, np.array([each.step_ns for each in samples]) / 1e9)


def prove(material: Material) -> Proof:
    """Every kind over a still and over the running film."""
    proof = Proof(
        ["motion", "over", "windows", "right word", "unknown", "pan or tilt error", "zoom error", "roll error"]
    )
    draw = np.random.default_rng(material.seed)
    right = {"still": [0, 0], "film": [0, 0]}
    errors: dict[str, list[float]] = {"pan": [], "zoom": [], "roll": []}
    films = [film(path, FRAMES, RATE, 800, 450) for path in material.footage]
    films = [each for each in films if len(each) == FRAMES][:9]
    with Nursery(DecodingLimits()) as nursery:
        for kind, motion in KINDS.items():
            for over in ("still", "film"):
                own: list[tuple[float, float, float]] = []
                hits = unknown = 0
                for each in films:
                    frames = np.repeat(each[:1], FRAMES, axis=0) if over == "still" else each
                    path = encoded(material.scratch / "film.mkv", moved(frames, draw, **motion), RATE, X264)
                    found = measured(nursery, path, proof)
                    unknown += found.label == "unknown"
                    hits += found.label == kind
                    if found.pan is None or kind == "shake":
                        continue
                    turned = [abs(getattr(found, way) - motion.get(way, 0) * RATE / WIDTH) for way in ("pan", "tilt")]
                    zoom = found.zoom - motion.get("zoom", 0) * RATE
                    own.append((max(turned), abs(zoom), abs(found.roll - motion.get("roll", 0) * RATE)))
                middle = np.median(own, axis=0).tolist() if own else ["", "", ""]
                proof.rows.append([kind, over, len(films), hits, unknown, *middle])
                right[over][0] += hits
                right[over][1] += len(films) - unknown
                if over == "still" and own:
                    for name, value in zip(errors, middle, strict=True):
                        errors[name].append(float(value))
    proof.figures = {
        "right_over_stills": right["still"][0] / right["still"][1],
        "right_over_films": right["film"][0] / right["film"][1],
        "pan_error": max(errors["pan"]),
        "zoom_error": max(errors["zoom"]),
        "roll_error": max(errors["roll"]),
    }
    timed_samples(proof, material.footage, _measuring)
    return proof


def _measuring(stream):
    small = Scaler(small_size, "gray", stream, flags="area")
    return lambda frame, following: camera_step(small(frame), small(following))

"""`technical_quality`: films that are blurred, noisy, compressed, banded or woven by levels, and what is measured."""

# pyright: basic

from collections.abc import Iterator

import cv2
import numpy as np

from gpu_kernels.media.luma import Luma
from gpu_kernels.media.scaler import Scaler
from gpu_kernels.sandbox import DecodingLimits, Nursery
from gpu_kernels.scan.frame_sampler import FrameSignalsConfig
from gpu_kernels.scan.scan import ScanChunk, read_scan
from gpu_kernels.scores.clip_quality import OF_SAMPLES
from gpu_kernels.scores.picture_quality import blur_size, picture_quality
from proofs.films import encoded, film, timed_samples
from proofs.proof import Material, Proof

RATE, FRAMES = 25, 26
LEVELS = {
    "blur": ("blur sigma", (0, 0.6, 1, 1.5, 2.5, 4)),
    "noise": ("noise sigma", (0, 2, 5, 10, 20)),
    "blockiness": ("x264 crf", (18, 28, 36, 44, 51)),
    "banding": ("grey levels apart", (1, 2, 4)),
    "combing": ("lines from the next frame but two", (0, 1)),
}


def changed(frames: np.ndarray, what: str, level: float, draw: np.random.Generator) -> np.ndarray:
    """A film with a fault of a level."""
    if what == "blur" and level:
        return np.stack([cv2.GaussianBlur(each, (0, 0), level) for each in frames])
    if what == "noise":
        return (frames + draw.normal(0, level, frames.shape)).clip(0, 255).astype(np.uint8)
    if what == "banding":
        smooth = np.stack([cv2.GaussianBlur(each, (0, 0), 12) for each in frames]).astype(np.float32)
        return ((smooth + draw.normal(0, 0.8, smooth.shape) * (level == 1)) // level * level).astype(np.uint8)
    if what == "combing" and level:
        woven = frames.copy()
        woven[:-3, 1::2] = frames[3:, 1::2]
        return woven
    return frames


def faults(films: list[np.ndarray], draw: np.random.Generator) -> Iterator[tuple[str, float, int, np.ndarray, int]]:
    """What, its level, which film, the film so, and the crf to encode it with."""
    for what, (_, levels) in LEVELS.items():
        for number, frames in enumerate(films):
            for level in levels:
                crf = int(level) if what == "blockiness" else 12
                yield what, level, number, changed(frames, what, level, draw), crf


def prove(material: Material) -> Proof:
    """Each measure at each level: its median over the films, its rank correlation with the level within a film."""
    proof = Proof(["measure", "of", "medians by level", "rank correlation", "told apart, worst from none"])
    draw = np.random.default_rng(material.seed)
    films = [film(path, FRAMES, RATE, 640, 360) for path in material.footage]
    films = [each for each in films if len(each) == FRAMES][:10]
    values: dict[str, dict[float, list[float]]] = {what: {} for what in LEVELS}
    with Nursery(DecodingLimits()) as nursery:
        for what, level, _, frames, crf in faults(films, draw):
            codec = ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf)]
            path = encoded(material.scratch / "film.mkv", frames, RATE, codec)
            chunks = read_scan(nursery, str(path), None, (), frame_signals=FrameSignalsConfig())
            found = [each.quality for chunk in chunks if isinstance(chunk, ScanChunk) for each in chunk.samples]
            value = float(np.median([getattr(each, what) for each in found]))
            values[what].setdefault(level, []).append(value)
    ranks, apart = {}, {}
    for what, (of, levels) in LEVELS.items():
        table = np.array([values[what][level] for level in levels])
        order = table.argsort(0).argsort(0)  # Spearman's correlation is that of the ranks
        ranks[what] = float(np.mean([np.corrcoef(np.arange(len(levels)), each)[0, 1] for each in order.T]))
        best, worst = table[0], table[-1]
        apart[what] = float((worst[:, None] > best[None]).mean())
        medians = " / ".join(f"{median:.3g}" for median in np.median(table, axis=1))
        proof.rows.append([what, f"{of} {' / '.join(map(str, levels))}", medians, ranks[what], apart[what]])
    proof.figures = {
        "blur_rank": ranks["blur"],
        "noise_rank": ranks["noise"],
        "blockiness_rank": ranks["blockiness"],
        "blur_apart": apart["blur"],
        "noise_apart": apart["noise"],
        "blockiness_apart": apart["blockiness"],
        "banding_apart": apart["banding"],
        "combing_apart": apart["combing"],
    }
    assert set(LEVELS) <= set(OF_SAMPLES)
    timed_samples(proof, material.footage, _measuring)
    return proof


def _measuring(stream):
    luma, reduced = Luma(stream), Scaler(blur_size, "gray", stream, upright=False, flags="area")
    return lambda frame, _: picture_quality(*luma(frame), reduced(frame))

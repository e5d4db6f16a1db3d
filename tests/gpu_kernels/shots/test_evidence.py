"""What the pictures say of a step between frames, on pictures that were made to be one thing or the other."""

from dataclasses import astuple

import cv2
import numpy as np
import pytest

from gpu_kernels.shots.evidence import FIELDS, FLOOR, Evidence, EvidenceStream, moved_difference


def scene(seed: int) -> np.ndarray:
    """A picture with structure of all sizes, wider than a thumbnail: uint8 [60, 300, 3]."""
    random = np.random.default_rng(seed)
    layers = [cv2.resize(random.normal(0, 1, (60 // s, 300 // s, 3)), (300, 60)) * s for s in (2, 5, 12)]
    whole = np.sum(layers, axis=0)
    return np.clip(128 + whole / whole.std() * 40, 0, 255).astype(np.uint8)


def filmed(seed: int, frames: int, speed: int = 1) -> np.ndarray:
    """A camera that pans over a scene: uint8 [frames, 27, 48, 3]."""
    whole = scene(seed)
    return np.stack([whole[10:37, 5 + speed * i : 53 + speed * i] for i in range(frames)])


def evidence_at(film: np.ndarray, frame: int) -> Evidence:
    curve = np.zeros(len(film), np.float32)
    curve[frame] = 0.9
    stream = EvidenceStream()
    stream.add(film, curve)
    stream.finish()
    (at,), (numbers,) = stream.found()
    assert at == frame
    return Evidence(*numbers.tolist())


def test_what_moved_and_a_change_of_light_are_no_difference() -> None:
    whole = scene(1).astype(np.float32).mean(axis=2)
    one, moved, other = whole[10:37, 20:68], whole[13:40, 26:74], scene(2).astype(np.float32).mean(axis=2)[10:37, 20:68]
    exact = np.ascontiguousarray(moved[:24, :42]) - np.ascontiguousarray(one[3:27, 6:48])
    assert np.abs(exact).max() == 0  # so a shift of (3, 6) lays them over each other
    apart = moved_difference(one, other)
    assert apart > 0.3
    assert moved_difference(one, one) == pytest.approx(0, abs=0.005)
    assert moved_difference(one, one * 0.7 + 20) < 0.1 * apart
    assert moved_difference(one, moved) < 0.6 * apart  # blocks at the edge have no match


def test_a_cut_a_pan_a_flash_a_fade_and_a_dissolve_are_told_apart() -> None:
    one, other = filmed(1, 120), filmed(2, 120)
    cut = evidence_at(np.concatenate([one[:60], other[60:]]), 59)
    pan = evidence_at(filmed(1, 120, speed=2), 59)
    assert cut.step > 5 * max(cut.usual, cut.beside) and cut.alike > 0.5 * cut.step
    assert pan.step < 1.5 * pan.usual + 0.02
    flashed = one.copy()
    flashed[60:62] = 255 - (255 - flashed[60:62]) // 8
    flash = evidence_at(flashed, 59)
    assert flash.light > 60 and flash.alike < 0.5 * cut.alike
    share = np.linspace(0, 1, 20)[:, None, None, None]
    mixed = np.concatenate([one[:50], (one[50:70] * (1 - share) + other[50:70] * share).astype(np.uint8), other[70:]])
    dissolve = evidence_at(mixed, 59)
    assert dissolve.contrast > 0.4 and dissolve.mixed < 0.6 < cut.contrast
    down, up = np.clip(1 - 2 * share, 0, 1), np.clip(2 * share - 1, 0, 1)
    faded = np.concatenate([one[:50], (one[50:70] * down + other[50:70] * up).astype(np.uint8), other[70:]])
    assert evidence_at(faded, 59).contrast < 0.1


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_and_segments_give_the_evidence_of_the_whole(chunk: int) -> None:
    film = np.concatenate([filmed(seed, 70, speed=seed) for seed in (1, 2, 3)])
    curve = np.random.default_rng(3).uniform(0, 1, len(film)).astype(np.float32) ** 6
    whole = EvidenceStream()
    whole.add(film, curve)
    whole.finish()
    frames, evidence = whole.found()
    assert frames.tolist() == np.flatnonzero(curve > FLOOR).tolist() and evidence.shape == (len(frames), len(FIELDS))
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for start, end in [(0, 100), (100, 210)]:
        before, after = 25 if start else 0, 25 if end < len(film) else 0
        stream, own = EvidenceStream(before), curve[start:end]
        for at in range(start - before, end + after, chunk):
            pictures = film[at : min(at + chunk, end + after)]
            known = max(0, at + len(pictures) - 60 - start)  # the network is behind
            stream.add(pictures, own[stream.given : known])
            assert stream.done <= known == stream.given
        stream.finish(own[stream.given :], after)
        found, numbers = stream.found()
        parts.append((found + start, numbers))
        assert stream.done == end - start
    assert np.array_equal(np.concatenate([found for found, _ in parts]), frames)
    assert np.array_equal(np.concatenate([numbers for _, numbers in parts]), evidence)


def test_a_video_of_one_frame() -> None:
    assert np.isfinite(astuple(evidence_at(filmed(1, 1), 0))).all()

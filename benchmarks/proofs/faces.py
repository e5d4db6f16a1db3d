"""Faces of real footage that were counted by eye, and a face pasted into other footage at known sizes."""

# pyright: basic

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from proof_pictures import as_stored, pictures_per_second

from gpu_kernels.scores.faces import Face, face_detector
from proofs.proof import Material, Proof

COUNTED = {
    "bigbuckbunny": [0] * 6,
    "bikes": [0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
    "carphone_distorted": [1] * 4,
    "carphone_pristine": [1] * 4,
    "01_dog": [1] * 10,
    "02_cups": [0] * 10,
    "03_blocks": [0] * 10,
    "04_coffee": [0] * 10,
    "05_default_juggle": [1] * 11,
    "bedroom": [2, 1, 1, 1, 2, 1, 1],
    "bottle-detection": [0] * 12,
    "car-detection": [0] * 12,
    "crystal": [0] * 12,
    "elf": [0] * 9,
    "frog": [0] * 9,
    "monster": [0] * 8,
    "one-by-one-person-detection": [0] * 12,
    "pig": [0] * 7,
    "rabbit": [0] * 8,
}
"""Faces of people in the pictures of each second, of the films that were looked at."""

FACE = (62, 28, 50, 68)
"""Of the first picture of `carphone_pristine`: left, top, width, height."""
HEIGHTS = (8, 12, 16, 24, 32, 48, 96)


LEVELS = (0.8, 0.7)
"""Of `confidence`: the default, and what is advised for privacy."""


def prove(material: Material) -> Proof:
    """Precision and recall on footage, and recall by the size and the state of a face."""
    proof = Proof(("pictures", "faces", *(f"{what} at {level}" for level in LEVELS for what in ("found", "elsewhere"))))
    detect = face_detector(min(LEVELS))
    truly, right, wrong = 0, dict.fromkeys(LEVELS, 0), dict.fromkeys(LEVELS, 0)
    hosts: list[np.ndarray] = []
    talker: np.ndarray | None = None
    for path in material.footage:
        counts = COUNTED.get(path.stem)
        if counts is None:
            continue
        pictures = list(pictures_per_second(path, len(counts)))
        with proof.timed(len(pictures)):
            seen = [detect(picture) for picture in pictures]
        cells: list[int] = []
        for level in LEVELS:
            told = [len(_sure(faces, level)) for faces in seen]
            found = sum(map(min, told, counts))
            cells += [found, sum(told) - found]
            right[level] += found
            wrong[level] += sum(told) - found
        truly += sum(counts)
        proof.rows.append((f"{path.stem}, {len(pictures)}", sum(counts), *cells))
        talker = pictures[0] if path.stem == "carphone_pristine" else talker
        hosts += [
            picture for picture, truth, faces in zip(pictures, counts, seen, strict=True) if not truth and not faces
        ]
    all_cells = (each[level] for level in LEVELS for each in (right, wrong))
    proof.rows.append(("**all of these**", truly, *all_cells))
    proof.figures |= {"recall": right[0.8] / truly, "precision": right[0.8] / (right[0.8] + wrong[0.8])}
    proof.figures |= {"recall_at_0.7": right[0.7] / truly, "precision_at_0.7": right[0.7] / (right[0.7] + wrong[0.7])}
    if talker is None:
        raise SystemExit("carphone_pristine is not among the footage")
    random = np.random.default_rng(material.seed)
    chosen = [hosts[index] for index in random.permutation(len(hosts))[:12]]

    def pasted(name: str, height: int, change: Callable[[np.ndarray], np.ndarray] = as_stored) -> float:
        counts = dict.fromkeys(LEVELS, 0)
        for picture, box in _pasted(talker, chosen, height, random):
            faces = detect(change(picture))
            for level in LEVELS:
                counts[level] += _is_found(_sure(faces, level), box, picture)
        proof.rows.append((name, len(chosen), counts[0.8], "", counts[0.7], ""))
        return counts[0.8] / len(chosen)

    by_height = {height: pasted(f"a face of {height} pixels in height, pasted", height) for height in HEIGHTS}
    proof.figures["recall_at_32_pixels"] = by_height[32]
    for name, change in CHANGES.items():
        pasted(f"of 64 pixels, {name}", 64, change)
    return proof


def _sure(faces: list[Face], level: float) -> list[Face]:
    return [face for face in faces if face.confidence >= level]


CHANGES = {
    "mirrored": lambda picture: as_stored(picture[:, ::-1]),
    "dark, to 20 %": lambda picture: as_stored((picture * 0.2).astype(np.uint8)),
    "grey": lambda picture: as_stored(np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)),
    "blurred, sigma 3": lambda picture: as_stored(cv2.GaussianBlur(picture, (0, 0), 3)),
    "blurred much, sigma 6": lambda picture: as_stored(cv2.GaussianBlur(picture, (0, 0), 6)),
    "compressed, JPEG 10": lambda picture: as_stored(picture, 10),
    "noisy, sigma 20": lambda picture: as_stored(_noisy(picture, 20)),
    "upside down": lambda picture: as_stored(picture[::-1, ::-1]),
}


def _noisy(picture: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(picture.shape[1]).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def _pasted(
    talker: np.ndarray, hosts: list[np.ndarray], height: int, random: np.random.Generator
) -> Iterator[tuple[np.ndarray, tuple[int, int, int, int]]]:
    """The picture with the face at a size, laid somewhere into each host, and where the face then is."""
    scale = height / FACE[3]
    size = tuple(round(side * scale) for side in talker.shape[1::-1])
    small = cv2.resize(talker, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    for host in hosts:
        high, wide = host.shape[:2]
        top, left = (
            int(random.integers(0, most - side + 1)) for most, side in zip((high, wide), size[::-1], strict=True)
        )
        picture = host.copy()
        picture[top : top + size[1], left : left + size[0]] = small
        x, y, width, tall = (round(value * scale) for value in FACE)
        yield picture, (left + x, top + y, width, tall)


def _is_found(faces: list[Face], box: tuple[int, int, int, int], picture: np.ndarray) -> bool:
    """Whether the middle of a face lies in the box, or in the box of the mirrored or the turned picture."""
    high, wide = picture.shape[:2]
    x, y, width, height = box
    for face in faces:
        middle = ((face.x + face.width / 2) * wide, (face.y + face.height / 2) * high)
        for across in (middle[0], wide - middle[0]):
            for down in (middle[1], high - middle[1]):
                if x <= across <= x + width and y <= down <= y + height:
                    return True
    return False

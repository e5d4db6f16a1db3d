"""What networks for explicit content say of footage that has none: how often they would be wrong. There is no footage
here that has any, so how much of it they find is not shown."""

# pyright: basic

import cv2
import numpy as np
from proof_pictures import as_stored, pictures_per_second

from gpu_kernels.scores.safety import ExplicitContent, ExposedParts
from proofs.proof import Material, Proof

MOST_PICTURES = 8
"""Of a film, one a second."""


def prove(material: Material) -> Proof:
    """False alarms by film and by what was done to the pictures."""
    explicit_columns, exposed_columns = ("`explicit`: greatest", "> 0.2", "> 0.8"), ("`exposed`: greatest", ">= 0.5")
    proof = Proof(("pictures, none explicit", "number", *explicit_columns, *exposed_columns))
    explicit_content, exposed_parts = ExplicitContent(), ExposedParts()
    every: list[np.ndarray] = []
    first: list[np.ndarray] = []

    def measured(name: str, pictures: list[np.ndarray]) -> tuple[float, float]:
        explicit = np.array([explicit_content(picture) for picture in pictures])
        exposed = np.array([exposed_parts(picture).score for picture in pictures])
        alarms = int((explicit > 0.2).sum()), int((explicit > 0.8).sum())
        row = (name, len(pictures), float(explicit.max()), *alarms, float(exposed.max()), int((exposed >= 0.5).sum()))
        proof.rows.append(row)
        return alarms[1] / len(pictures), row[-1] / len(pictures)

    for path in material.footage:
        pictures = list(pictures_per_second(path, MOST_PICTURES))
        with proof.timed(len(pictures)):
            for picture in pictures:
                explicit_content(picture)
        measured(path.stem, pictures)
        every += pictures
        first += pictures[:2]
    explicit, exposed = measured("**all of these**", every)
    proof.figures |= {"false_alarms_explicit": explicit, "false_alarms_exposed": exposed}
    for name, change in CHANGES.items():
        measured(f"two of each film, {name}", [as_stored(change(picture)) for picture in first])
    return proof


def _middle(picture: np.ndarray) -> np.ndarray:
    """The middle third, enlarged: skin and cloth without their surroundings."""
    high, wide = picture.shape[:2]
    part = picture[high // 3 : high - high // 3, wide // 3 : wide - wide // 3]
    return cv2.resize(part, (wide, high), interpolation=cv2.INTER_CUBIC)


CHANGES = {
    "their middle": _middle,
    "dark, to 20 %": lambda picture: (picture * 0.2).astype(np.uint8),
    "blurred, sigma 4": lambda picture: cv2.GaussianBlur(picture, (0, 0), 4),
    "the colour of skin": lambda picture: (0.4 * picture + 0.6 * np.array([224, 172, 105])).astype(np.uint8),
    "turned by 90 degrees": lambda picture: np.rot90(picture),
}

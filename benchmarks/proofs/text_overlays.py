"""`text_overlays`: text of fonts, sizes, places and lengths that is drawn over footage, and signs in the scene."""

# pyright: basic

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from proof_overlaid import PER_SECOND, encoded, films

from gpu_kernels.models.registry import PP_OCR_DETECTOR, packaged_file
from gpu_kernels.ocr.detector import TextDetector
from gpu_kernels.ocr.looks import cut, look
from gpu_kernels.scores.text_overlays import TextOverlays, TextOverlaysConfig, picture_moves, text_overlays
from proofs.proof import Material, Proof

_FILMS = ("01_dog", "05_default_juggle", "bedroom", "elf", "bikes", "bigbuckbunny")
"""Without text of their own."""
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)
_PLACES = ((0.5, 0.92), (0.3, 0.1), (0.7, 0.9), (0.5, 0.5))
_SAID = ("What was said here", "Who has heard of it", "Tomorrow at 9 42", "Why not ask him")


def _written(
    picture: np.ndarray,
    font: int,
    height: float,
    x: float,
    y: float,
    text: str = "What was said here",
    alpha: float = 1,
) -> None:
    """Text of a height in pixels at 480 lines, its middle at shares of the picture."""
    pixels = height * picture.shape[0] / 480
    scale = cv2.getFontScaleFromHeight(font, max(4, round(pixels * 0.72)))
    thick = max(1, round(pixels / 14))
    (wide, high), _ = cv2.getTextSize(text, font, scale, thick)
    at = int(x * picture.shape[1] - wide / 2), int(y * picture.shape[0] + high / 2)
    over = picture.copy()
    cv2.putText(over, text, at, font, scale, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.putText(over, text, at, font, scale, (255, 255, 255), thick, cv2.LINE_AA)
    picture[:] = cv2.addWeighted(over, alpha, picture, 1 - alpha, 0)


def _sign(picture: np.ndarray, x: float, y: float, scale: float) -> None:
    """A board with a word, its middle at pixels of 480 lines off the picture's middle."""
    unit = picture.shape[0] / 480 * scale
    middle = picture.shape[1] / 2 + x * picture.shape[0] / 480, picture.shape[0] / 2 + y * picture.shape[0] / 480
    board = np.full((int(60 * unit), int(220 * unit), 3), (40, 90, 60), np.uint8)
    size = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, int(24 * unit))
    cv2.putText(board, "EXIT 42", (int(30 * unit), int(42 * unit)), cv2.FONT_HERSHEY_SIMPLEX, size, (240, 240, 240), 2)
    move = np.array([[1, 0, middle[0] - 110 * unit], [0, 1, middle[1] - 30 * unit]], np.float32)
    cv2.warpAffine(board, move, picture.shape[1::-1], dst=picture, borderMode=cv2.BORDER_TRANSPARENT)


def prove(material: Material) -> Proof:
    """Every level over every film, each with another font and place."""
    proof = Proof(["kind", "clips", "called an overlay", "and told from a sign", "by the reference's rule"])
    drawn = np.random.default_rng(material.seed)
    config = TextOverlaysConfig()
    detect = TextDetector(
        packaged_file(PP_OCR_DETECTOR), config.longest_side, config.pixel_threshold, config.box_threshold
    )
    some = {name: film[:10] for name, film in films(material.footage).items() if name in _FILMS}

    def called(pictures: Sequence[np.ndarray]) -> tuple[TextOverlays, TextOverlays]:
        with proof.timed(len(pictures) / PER_SECOND):
            found, moves = [detect(picture) for picture in pictures], picture_moves(pictures)
            looks = [[look(cut(each, box)) for box in boxes] for each, boxes in zip(pictures, found, strict=True)]
        times = [round(number * 1e9 / PER_SECOND) for number in range(len(pictures))]
        frames, aspect = [15 * number for number in range(len(pictures))], pictures[0].shape[1] / pictures[0].shape[0]
        ours, reference = (
            text_overlays(found, frames, times, aspect, moves, rule, looks) for rule in ("steady", "reference")
        )
        return ours, reference

    def row(kind: str, figure: str | None, draw: Callable[[int, list[np.ndarray]], None]) -> None:
        over = told = reference = 0
        for index, film in enumerate(some.values()):
            pictures = [picture.copy() for picture in film]
            draw(index, pictures)
            ours, theirs = called(encoded(pictures))
            over += any(track.overlay for track in ours.tracks)
            told += ours.share > 0
            reference += theirs.share > 0
        proof.rows.append([kind, len(some), over, told, reference])
        if figure is not None:
            proof.figures[figure] = proof.figures.get(figure, 0) + over
            proof.figures[f"{figure}_clips"] = proof.figures.get(f"{figure}_clips", 0) + len(some)

    def text(height: float, first: int = 0, last: int | None = None, alpha: float = 1) -> Callable:
        def draw(index: int, pictures: list[np.ndarray]) -> None:
            for picture in pictures[first:last]:
                _written(picture, _FONTS[index % 4], height, *_PLACES[index // 2 % 4], alpha=alpha)

        return draw

    def subtitles(index: int, pictures: list[np.ndarray]) -> None:
        for number, picture in enumerate(pictures):
            _written(picture, _FONTS[index % 4], 28, 0.5, 0.92, _SAID[number // 3 % len(_SAID)])

    def sign(speed: float = 0, shake: float = 0, growth: float = 0) -> Callable:
        def draw(_: int, pictures: list[np.ndarray]) -> None:
            for number, picture in enumerate(pictures):
                seconds = number / PER_SECOND
                x, y = drawn.normal(0, shake, 2) if shake else (0, 0)
                _sign(picture, x + speed * (seconds - len(pictures) / 4), y, (1 + growth) ** seconds)

        return draw

    row("nothing", "called_wrongly", lambda *_: None)
    for kind, draw in (
        ("a sign that drifts by 10 pixels per second", sign(10)),
        ("by 30", sign(30)),
        ("by 80", sign(80)),
        ("seen by a camera in the hand", sign(shake=12)),
        ("growing by 8 % per second", sign(growth=0.08)),
    ):
        row(kind, "called_wrongly", draw)
    row("a sign that stands still", None, sign())
    for height in (12, 18, 28, 48):
        row(f"text of {height} pixels", "found" if height > 12 else None, text(height))
    row("of 28 pixels, half transparent", "found", text(28, alpha=0.5))
    row("of 28 pixels, for 2 s", "found", text(28, 4, 8))
    row("of 28 pixels, for 1 s", "found", text(28, 4, 6))
    row("subtitles of 28 pixels, another each 1.5 s", "found", subtitles)
    proof.figures["recall"] = proof.figures["found"] / proof.figures["found_clips"]
    return proof

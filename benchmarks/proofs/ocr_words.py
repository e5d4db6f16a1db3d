"""`ocr_words`: text of known words in fonts, sizes and scripts that is drawn over footage, and footage without text."""

# pyright: basic

from collections.abc import Sequence

import cv2
import numpy as np
from proof_overlaid import PER_SECOND, encoded, films

from gpu_kernels.models.registry import PP_OCR_DETECTOR, PP_OCR_RECOGNISER, packaged_file
from gpu_kernels.ocr.detector import TextDetector
from gpu_kernels.ocr.looks import cut, look
from gpu_kernels.ocr.recogniser import TextRecogniser
from gpu_kernels.scores.ocr_words import OcrWordsConfig, clearest, said, words_of
from gpu_kernels.scores.text_overlays import TextOverlaysConfig, picture_moves, text_overlays
from proofs.proof import Material, Proof

_FILMS = ("01_dog", "05_default_juggle", "bedroom", "elf", "bikes", "bigbuckbunny")
"""Without text of their own."""
_SIZES = (12, 18, 28, 48)
_WRITTEN = {
    "Latin": (
        "Nobody came back",
        "Breaking news",
        "The last train home",
        "Please wait here",
        "Made by hand",
        "Quiz show",
    ),
    "digits": ("17:45", "2024-11-28", "555 0199", "3.14159", "1200 km/h", "99 %"),
    "Chinese": ("今天天气很好", "欢迎来到北京", "新闻联播", "请在这里等候", "明天再见", "你好世界"),
    "Cyrillic": ("Доброе утро", "Последние новости", "До завтра", "Спасибо за все", "Белый город", "Новый день"),
}
_FIGURES = {
    ("Latin", 18): ("latin_character_errors_18", "latin_words_18"),
    ("Latin", 28): ("latin_character_errors_28", "latin_words_28"),
    ("digits", 18): ("digits_character_errors_18", "digits_words_18"),
    ("digits", 28): ("digits_character_errors_28", "digits_words_28"),
    ("Chinese", 18): ("chinese_character_errors_18", "chinese_words_18"),
    ("Chinese", 28): ("chinese_character_errors_28", "chinese_words_28"),
}
"""Names of the figures of these rows."""
_FONTS = ("sans", "italic", "uni")
_WEIGHTS = (300, 500, 700)
_PLACES = ((0.5, 0.92), (0.3, 0.1), (0.65, 0.9), (0.5, 0.5))


def _draw(picture: np.ndarray, text: str, height: float, index: int, alpha: float = 1) -> None:
    """Text of a height in pixels at 480 lines, with an outline; every index has another font, weight and place."""
    font, weight = cv2.FontFace(_FONTS[index % 3]), _WEIGHTS[index // 2 % 3]
    pixels = max(6, round(height * picture.shape[0] / 480 * 0.8))
    middle, line = _PLACES[index % 4]
    _, _, wide, _ = cv2.getTextSize((0, 0), text, (0, 0), font, pixels, weight)
    at = int(middle * picture.shape[1] - wide / 2), int(line * picture.shape[0] + pixels / 3)
    over, edge = picture.copy(), max(1, pixels // 20)
    for dx, dy in ((-edge, 0), (edge, 0), (0, -edge), (0, edge)):
        cv2.putText(over, text, (at[0] + dx, at[1] + dy), (0, 0, 0), font, pixels, weight)
    cv2.putText(over, text, at, (255, 255, 255), font, pixels, weight)
    picture[:] = cv2.addWeighted(over, alpha, picture, 1 - alpha, 0)


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance."""
    before = list(range(len(other) + 1))
    for row, a in enumerate(one, 1):
        now = [row]
        for column, b in enumerate(other, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (a != b)))
        before = now
    return before[-1]


def prove(material: Material) -> Proof:
    """Every script in every size over every film, and what is read where nothing was written."""
    proof = Proof(["text", "lines", "read without a fault", "character errors", "words found", "other words"])
    seeks, reads = TextOverlaysConfig(), OcrWordsConfig()
    detect = TextDetector(
        packaged_file(PP_OCR_DETECTOR), seeks.longest_side, seeks.pixel_threshold, seeks.box_threshold
    )
    recognise = TextRecogniser(packaged_file(PP_OCR_RECOGNISER))
    all_films = films(material.footage)
    some = [film[:8] for name, film in all_films.items() if name in _FILMS]

    def lines_of(pictures: Sequence[np.ndarray]) -> list[str]:
        boxes = [detect(picture) for picture in pictures]
        times = [round(number * 1e9 / PER_SECOND) for number in range(len(pictures))]
        looks = [[look(cut(each, box)) for box in of] for each, of in zip(pictures, boxes, strict=True)]
        aspect = pictures[0].shape[1] / pictures[0].shape[0]
        found = text_overlays(boxes, range(len(pictures)), times, aspect, picture_moves(pictures), looks=looks)
        with proof.timed(len(pictures) / PER_SECOND):
            texts = []
            for track in found.tracks:
                crops = [cut(pictures[each], box) for each, box in zip(track.pictures, track.boxes, strict=True)]
                texts.append(said(*recognise(crops[clearest(crops)]), reads.confidence))
        return list(dict.fromkeys(text for text in texts if text is not None))

    def row(kind: str, drawn: Sequence[str], read: Sequence[Sequence[str]]) -> tuple[float, float]:
        """One line was drawn over each film."""
        exact = errors = words = found = others = 0
        for text, lines in zip(drawn, read, strict=True):
            nearest = min(lines, key=lambda line: _edits(line, text), default="")
            exact += nearest == text
            errors += min(_edits(nearest, text), len(text))
            wanted = words_of([text])
            words, found = words + len(wanted), found + len({*wanted} & {*words_of(lines)})
            others += len(words_of(line for line in lines if line != nearest))
        shares = errors / sum(map(len, drawn)), found / words
        proof.rows.append([kind, len(drawn), exact, f"{shares[0]:.3f}", f"{found} of {words}", others])
        return shares

    for script, texts in _WRITTEN.items():
        for height in _SIZES if script != "Cyrillic" else (28,):
            read = []
            for index, film in enumerate(some):
                pictures = [picture.copy() for picture in film]
                for picture in pictures:
                    _draw(picture, texts[index], height, index)
                read.append(lines_of(encoded(pictures)))
            shares = row(f"{script}, {height} pixels", texts[: len(some)], read)
            if (figures := _FIGURES.get((script, height))) is not None:
                proof.figures |= dict(zip(figures, shares, strict=True))
    said_in_turn = found = 0
    for index, film in enumerate(some):
        pictures = [picture.copy() for picture in film]
        for number, picture in enumerate(pictures):
            _draw(picture, _WRITTEN["Latin"][(index + number // 3) % 6], 28, 0)
        written = [_WRITTEN["Latin"][(index + number) % 6] for number in range(-(-len(pictures) // 3))]
        wanted, lines = words_of(written), lines_of(encoded(pictures))
        said_in_turn, found = said_in_turn + len(wanted), found + len({*wanted} & {*words_of(lines)})
    proof.rows.append(
        ["subtitles of 28 pixels, another each 1.5 s", len(some), "", "", f"{found} of {said_in_turn}", ""]
    )
    proof.figures["subtitle_words"] = found / said_in_turn
    false = {name: words_of(lines_of(film)) for name, film in all_films.items()}
    silent = {name: words for name, words in false.items() if name in _FILMS}
    proof.rows.append(["nothing", len(silent), "", "", "", sum(map(len, silent.values()))])
    proof.figures["false_words"] = sum(map(len, silent.values()))
    for name, words in false.items():
        if words and name not in _FILMS:
            proof.rows.append([f"{name}, as it is", 1, "", "", "", " ".join(words)])
    return proof

"""Speech whose words and their times are known: eSpeak NG, as a package of the group dev ships it."""

# pyright: basic

import ctypes
import re
from dataclasses import dataclass
from functools import cache

import numpy as np

RATE = 22_050
"""Samples per second of what it says."""

_WORD = 1
_SPEED = 1
USUAL_SPEED = 175
"""Words per minute."""


@dataclass(frozen=True)
class Said:
    """What was said.

    Attributes:
        samples: float [n] at RATE, without the silence around.
        words: each with the second in which it begins; None where it is spoken as one with the word before.
    """

    samples: np.ndarray
    words: tuple[tuple[str, float | None], ...]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


@cache
def _speaker():
    try:
        import espeakng_loader
    except ImportError as error:
        raise SystemExit("speech is made by a package of the group dev: pip install espeakng-loader") from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(2, 0, str(espeakng_loader.get_data_path()).encode(), 0)
    if rate != RATE:
        raise SystemExit(f"the synthesiser gives {rate} samples per second, not {RATE}")
    heard: list[np.ndarray] = []
    begun: dict[int, int] = {}

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    def take(samples, count, events):
        if samples and count:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events and events[index].type:
            if events[index].type == _WORD:
                begun[events[index].text_position - 1] = events[index].milliseconds
            index += 1
        return 0

    library.espeak_SetSynthCallback(take)
    return library, heard, begun, take


@cache
def said(voice: str, text: str, speed: int = USUAL_SPEED) -> Said:
    """A sentence in a voice, such as `en-us+f3`, at so many words per minute."""
    library, heard, begun, _ = _speaker()
    heard.clear()
    begun.clear()
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise SystemExit(f"the synthesiser has no voice {voice}")
    library.espeak_SetParameter(_SPEED, speed, 0)
    spoken = text.encode()
    library.espeak_Synth(spoken, len(spoken) + 1, 0, 0, 0, 1, None, None)
    library.espeak_Synchronize()
    samples = np.concatenate(heard) / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    first = loud[0] / RATE
    words = tuple(
        (each[0], max(0.0, begun[each.start()] / 1000 - first) if each.start() in begun else None)
        for each in re.finditer(r"[\w']+", text)
    )
    return Said(samples[loud[0] : loud[-1] + 1], words)

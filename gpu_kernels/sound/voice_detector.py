"""Where somebody speaks: Silero VAD, with the weights that its package ships, through OpenVINO."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.models.registry import SILERO_VAD, packaged_file, packaged_revision
from gpu_kernels.sound.levels import TENTHS, VOICE_RATE

_WINDOW, _CONTEXT = 512, 64
"""Samples that the network judges at a time, and how many before them it is shown, too."""
_AT_ONCE = 32
"""Windows of one call: always as many, so that none depends on how sound comes in."""


def detector_identity() -> tuple[str, str]:
    """Name and revision of the network.

    Raises:
        NotThere: the package that ships it is not installed.
    """
    return SILERO_VAD.name, packaged_revision(SILERO_VAD)


class VoiceNetwork:
    """The network for windows of sound in order.

    Raises:
        NotThere: the package that ships it is not installed.
    """

    def __init__(self) -> None:
        import openvino as ov

        from gpu_kernels.models.cpu_network import SETTINGS

        core = ov.Core()
        model: Any = core.read_model(packaged_file(SILERO_VAD))
        model.reshape({"input": [_AT_ONCE, _CONTEXT + _WINDOW]})
        self._request = core.compile_model(model, "CPU", SETTINGS).create_infer_request()

    def __call__(
        self, windows: NDArray[np.float32], state: tuple[NDArray[np.float32], NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Probabilities [n] of windows [n, 576], -1 to 1, and the state after them."""
        found = self._request.infer({"input": windows, "h": state[0], "c": state[1]})
        probabilities, h, c = (np.array(found[index]) for index in range(3))
        return probabilities.ravel(), (h, c)


class VoiceCurve:
    """The probability of speech in every tenth of a second of sound without gaps."""

    def __init__(self, network: VoiceNetwork) -> None:
        self._network = network
        self._state = (np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32))
        self._waiting: NDArray[np.float32] = np.zeros(_CONTEXT, np.float32)
        self._found: list[NDArray[np.float32]] = []

    def add(self, samples: NDArray[np.int16]) -> None:
        """The next samples at 16 kHz."""
        self._waiting = np.concatenate([self._waiting, samples.astype(np.float32) / np.float32(32768)])
        while len(self._waiting) >= _CONTEXT + _AT_ONCE * _WINDOW:
            self._judge(_AT_ONCE)

    def finish(self) -> None:
        """Judge what is left, with silence after it."""
        left = -(-(len(self._waiting) - _CONTEXT) // _WINDOW)
        if left > 0:
            silence = np.zeros(_CONTEXT + _AT_ONCE * _WINDOW - len(self._waiting), np.float32)
            self._waiting = np.concatenate([self._waiting, silence])
            self._judge(left)

    def tenths(self) -> NDArray[np.float32]:
        """float32 [n]: of all tenths that are judged, the mean of the windows that begin in each."""
        if not self._found:
            return np.zeros(0, np.float32)
        found = np.concatenate(self._found)
        count = len(found) * _WINDOW * TENTHS // VOICE_RATE
        starts = -(-np.arange(count + 1) * VOICE_RATE // (TENTHS * _WINDOW))
        sums = np.concatenate([[0.0], np.cumsum(found, dtype=np.float64)])[starts]
        return (np.diff(sums) / np.diff(starts)).clip(0, 1).astype(np.float32)

    def _judge(self, windows: int) -> None:
        starts = np.arange(_AT_ONCE)[:, None] * _WINDOW
        shown = self._waiting[starts + np.arange(_CONTEXT + _WINDOW)]
        found, self._state = self._network(shown, self._state)
        self._found.append(found[:windows])
        self._waiting = self._waiting[_AT_ONCE * _WINDOW :]

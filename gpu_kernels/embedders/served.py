"""Vectors by a served model: any server that takes chats for OpenAI's embeddings, as vLLM's does.

A clip's frames are JPEGs in one message, and a text is a message of its own, so that both go through the model's chat
template.
"""

import base64
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from gpu_kernels.embedders.types import ClipEmbedder, ClipEmbeddingsConfig, TextEmbedder, check_frames, unit_rows
from gpu_kernels.errors import OperatingError
from gpu_kernels.models.section import Server
from gpu_kernels.models.serving import DISCOVERED, Connection, ServerSection, as_json, only_model

_QUALITY = 95


class ServedEmbeddingsConfig(ServerSection, ClipEmbeddingsConfig):
    """A server with OpenAI's embeddings API that takes pictures as chats, such as vLLM's: all frames of a clip at once.
    `device` says nothing of it."""

    without_effect: ClassVar[frozenset[str]] = ServerSection.without_effect | ClipEmbeddingsConfig.without_effect
    knows_words: ClassVar[bool] = True

    backend: Literal["openai"] = "openai"
    model: str | None = Field(default=None, min_length=1)
    """The model's name on the server; `null`: the only one that it has. Then `revision` is needed, because a plan is
    made without asking the server."""
    revision: str | None = None
    """A label of your own for what the server runs, as its API does not tell."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the server's key; without it requests carry none."""
    concurrency: int = Field(default=8, ge=1)
    """Requests to the server at a time, from each worker of the stage."""
    device: Literal["cpu"] = "cpu"  # pyright: ignore[reportIncompatibleVariableOverride]
    """The worker's own: it needs no GPU."""
    frames: int | None = Field(default=None, ge=1)
    """Frames of a clip that are sent, evenly chosen, some twice where there are fewer; `null`: all of its storyboard.
    Servers limit the pictures of a request, vLLM by `--limit-mm-per-prompt`."""

    @model_validator(mode="after")
    def _pinned(self) -> "ServedEmbeddingsConfig":
        if self.model is None and self.revision is None:
            raise ValueError("without `model`, `revision` is needed: a label of your own for what the server runs")
        return self

    @property
    def at_once(self) -> int:
        return self.concurrency

    def identity(self) -> tuple[str, str]:
        return self.model or DISCOVERED, self.revision or "endpoint"

    def server(self) -> Server:
        return Server(self.endpoint, self.api_key_env, self.api_key_file)

    def load(self) -> ClipEmbedder:
        return ServedEmbedder(self)

    def load_text(self) -> TextEmbedder:
        return ServedEmbedder(self)


class ServedEmbedder:
    """Asks the server for each clip and each text. Used by many threads.

    Raises:
        UserError: there is no key in the file that should have it.
    """

    def __init__(self, config: ServedEmbeddingsConfig) -> None:
        _, self.revision = config.identity()
        self.frames = config.frames
        self._server = Connection(config)
        self._at_once, self._model = config.concurrency, config.model
        self._dimension: int | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name, which the server is asked for where the settings do not say it."""
        return self._model_name()

    def embed_clip(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        check_frames(frames)
        if not frames:
            raise ValueError("a clip vector needs at least one frame")
        urls = [f"data:image/jpeg;base64,{base64.b64encode(_jpeg(frame)).decode()}" for frame in frames]
        return self._asked([{"type": "image_url", "image_url": {"url": url}} for url in urls])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        with ThreadPoolExecutor(self._at_once) as threads:
            rows = list(threads.map(lambda text: self._asked([{"type": "text", "text": text}]), texts))
        return np.stack(rows) if rows else np.empty((0, self._dimension or 0), np.float32)

    def close(self) -> None:
        """End the connections; what still waits for its turn fails."""
        self._server.close()

    def _asked(self, content: list[dict[str, Any]]) -> np.ndarray:
        """The unit vector of one message.

        Raises:
            OperatingError: the server does not answer, or with something else than a vector of the usual length.
        """
        body = {"model": self._model_name(), "messages": [{"role": "user", "content": content}]}
        answer = self._server.post("/embeddings", lambda: (as_json(body | {"encoding_format": "float"}), {}))
        try:
            (found,) = answer["data"]
            vector = np.array(found["embedding"], np.float64)
            if vector.ndim != 1 or len(vector) == 0:
                raise ValueError(f"an array of shape {vector.shape}")
            unit = unit_rows(vector[None])[0]
        except (KeyError, TypeError, ValueError) as wrong:
            said = f"{type(wrong).__name__}: {wrong}"
            raise OperatingError(f"the server answered no embedding that can be used ({said})") from wrong
        with self._lock:
            self._dimension = self._dimension or len(unit)
            if len(unit) != self._dimension:
                raise OperatingError(
                    f"the server answered {len(unit)} numbers after {self._dimension}: its model was changed; "
                    "make all vectors by one, under a new `revision`"
                )
        return unit

    def _model_name(self) -> str:
        with self._lock:
            if self._model is None:
                self._model = only_model(self._server)
            return self._model


def _jpeg(frame: np.ndarray) -> bytes:
    import cv2

    _, encoded = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return encoded.tobytes()

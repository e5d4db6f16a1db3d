"""The text encoder that a package ships, all-MiniLM-L6-v2: texts in, unit vectors out."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.errors import NotThere
from gpu_kernels.models.registry import MINILM, packaged_files, packaged_revision
from gpu_kernels.models.section import ModelSection, Wanted

DIMENSION = 384
MOST_TOKENS = 256
"""Of a text; the model was trained on no more, and what comes after them is left out."""


class CaptionEmbeddingsConfig(ModelSection):
    """Whether captions are made into vectors, for `curate search` to find them by what they mean."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"enabled"})

    enabled: bool = False
    """Whether they are. It takes some hundredths of a second of a CPU per caption, and `pip install
    'curate-graph[search]'`."""

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(MINILM.name),) if self.enabled else ()

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the encoder.

        Raises:
            NotThere: its package is not installed, with the remedy.
        """
        return (MINILM.name, packaged_revision(MINILM)) if self.enabled else ("none", "none")


class TextEncoder:
    """The encoder, on one thread of a CPU.

    Raises:
        NotThere: its package is not installed, with the remedy.
    """

    name = MINILM.name
    dimension = DIMENSION

    def __init__(self) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as missing:
            raise NotThere(f"model {MINILM.name} needs: pip install {MINILM.installed_by}") from missing
        from safetensors.numpy import load_file

        from gpu_kernels.texts.bert_openvino import Bert

        weights, tokenizer = packaged_files(MINILM)
        self.revision = packaged_revision(MINILM)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._network = Bert(load_file(weights), heads=12)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows [n, 384], one per text: the mean over its tokens. A row depends on its own text alone."""
        rows = np.empty((len(texts), DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            mean = self._network(np.array(self._tokenizer.encode(text).ids)).mean(axis=0, dtype=np.float64)
            row[:] = mean / np.linalg.norm(mean)
        return rows

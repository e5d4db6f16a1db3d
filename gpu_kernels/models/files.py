"""Models on disk and on a hub: which they are, without loading them, and loading them whole or not at all."""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpu_kernels.errors import NotThere, UserError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
"""Where a model runs; `auto` is a GPU if there is one."""

_MODEL_FILES = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model"})


def is_hub_id(model: str) -> bool:
    """Whether `model` is a hub id `owner/name` and not a folder. Write a folder's path with a leading `/`, `.` or `~`
    if it does not exist where the configuration is read."""
    return re.fullmatch(r"\w[\w.-]*/[\w.-]+", model) is not None and not Path(model).is_dir()


def check_hub_pin(model: str, revision: str | None) -> None:
    """Raise ValueError if `model` is a hub id and `revision` is not a commit."""
    if is_hub_id(model) and not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ValueError(
            f"hub id {model!r} needs `revision`, the commit's 40 hexadecimal digits: a branch or a tag can move, and "
            f"results could then not be reproduced (got {revision!r})"
        )


def pinned_model(model: str, revision: str | None) -> tuple[str, str]:
    """(name, revision) of a model folder or hub id. A folder is named by its last part and pinned by its content, so
    that moving it changes nothing.

    Raises:
        FileNotFoundError: `model` is neither a folder nor a hub id, or the folder holds no safetensors weights.
        ValueError: a hub id without a commit, or a folder whose content is not the one that `revision` pins.
    """
    if is_hub_id(model):
        check_hub_pin(model, revision)
        assert revision is not None
        return model, revision
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise NotThere(f"model {model!r} is neither a folder here nor a hub id `owner/name`")
    found = folder_revision(folder)
    if revision is not None and revision != found:
        raise UserError(f"the configuration pins revision {revision}, but the folder {folder.name!r} holds {found}")
    return folder.resolve().name, found


def folder_revision(folder: Path) -> str:
    """16 hexadecimal digits over the names and contents of a model folder's weight and configuration files.

    Digests are remembered by path, modification time and size, so asking again does not read the weights again.

    Raises:
        FileNotFoundError: the folder holds no safetensors file.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in _MODEL_FILES and path.is_file())
    if not any(path.suffix == ".safetensors" for path in files):
        raise NotThere(f"no .safetensors weights in the model folder {folder} (pickled weights are not read)")
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name}\0{file_digest(path)}\n".encode())
    return whole.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content as hex, remembered by path, modification time and size."""
    status = path.stat()
    return _digest_of_version(path.resolve(), status.st_mtime_ns, status.st_size)


@cache
def _digest_of_version(path: Path, _mtime_ns: int, _size: int) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def torch_device(device: Device) -> "torch.device":
    """The torch device that a configuration's `device` means on this machine.

    Raises:
        ValueError: `cuda` is asked for and torch sees no GPU.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, but torch sees no GPU here")
    return torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))


def model_source(model: str, revision: str) -> tuple[str, dict[str, Any]]:
    """What transformers' `from_pretrained` takes for a folder or a hub id: the source and its keyword arguments."""
    if is_hub_id(model):
        return model, {"revision": revision}
    return str(Path(model).expanduser()), {"local_files_only": True}


def whole_model(model_class: Any, source: str, name: str, **options: Any) -> Any:
    """`model_class.from_pretrained(source)` in evaluation mode, from safetensors only.

    Raises:
        ValueError: the files cannot be read, or weights are missing or of another shape, for which transformers would
            put random ones.
    """
    try:
        network, report = model_class.from_pretrained(source, use_safetensors=True, output_loading_info=True, **options)
    except (OSError, RuntimeError) as broken:
        raise UserError(f"model {name!r} cannot be loaded as a {model_class.__name__}: {broken}") from broken
    if absent := sorted(report["missing_keys"]):
        raise UserError(f"model {name!r} lacks {len(absent)} weights of a {model_class.__name__}, such as {absent[0]}")
    return network.eval()

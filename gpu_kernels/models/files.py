"""The files of models: which are read, what pins them, and loading them whole or not at all."""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpu_kernels.errors import NotThere, UserError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
"""Where a model runs; `auto` is a GPU if there is one."""

_MODEL_FILES = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model"})
CTRANSLATE2 = "model.bin"
"""Weights in CTranslate2's own format, by whose name no pickle goes: see `check_files`."""
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy"})
_LONGEST_HEADER = 100 * 2**20


def is_hub_id(model: str) -> bool:
    """Whether `model` is a hub id `owner/name` and not a folder. Write a folder's path with a leading `/`, `.` or `~`
    if it does not exist where the configuration is read."""
    return re.fullmatch(r"\w[\w.-]*/[\w.-]+", model) is not None and not Path(model).is_dir()


def folder_revision(folder: Path, code: bool = False) -> str:
    """16 hexadecimal digits over the names and contents of a model folder's weight and configuration files.

    Args:
        code: over its Python files, too, also those in folders below.

    Digests are remembered by path, modification time and size, so asking again does not read the weights again.

    Raises:
        FileNotFoundError: the folder holds no weights of a format that is read.
    """
    files = sorted(path for path in folder.iterdir() if _is_read(path.name) and path.is_file())
    files = [path for path in files if path.name != CTRANSLATE2 or _is_ctranslate2(path)]
    if not any(is_weights(path.name) for path in files):
        raise NotThere(f"no .safetensors weights in the model folder {folder} (pickled weights are not read)")
    files += folder.rglob("*.py") if code else ()
    return content_revision({path.relative_to(folder).as_posix(): file_digest(path) for path in files})


def content_revision(digests: Mapping[str, str]) -> str:
    """16 hexadecimal digits over files, from the SHA-256 of each by its name."""
    whole = hashlib.sha256()
    for name, digest in sorted(digests.items()):
        whole.update(f"{name}\0{digest}\n".encode())
    return whole.hexdigest()[:16]


def chosen_files(model: str, names: Iterable[str]) -> list[str]:
    """Of the files of a model, those that are read: weights, configuration, tokenizer; none in folders below.

    Raises:
        UserError: there are no weights among them that may be read.
    """
    listed = sorted(names)
    chosen = [name for name in listed if "/" not in name and _is_read(name)]
    if any(name.endswith(".safetensors") for name in chosen):
        return [name for name in chosen if name != CTRANSLATE2]
    if CTRANSLATE2 in chosen:
        return chosen
    if pickles := [name for name in listed if Path(name).suffix in _PICKLES]:
        raise UserError(f"model {model} has its weights in {pickles[0]} only: {_WHY_NO_PICKLES}")
    raise UserError(f"model {model} has no .safetensors weights")


def check_files(model: str, folder: Path, names: Iterable[str]) -> None:
    """See that the files of a model are such as are read: no pickles, whatever they are called.

    Raises:
        UserError: one is a pickle, or of no kind that is read, or is called safetensors and is not.
    """
    for name in names:
        if Path(name).name != name or not _is_read(name):
            why = _WHY_NO_PICKLES if Path(name).suffix in _PICKLES else "no such file is read"
            raise UserError(f"model {model} has a file {name}: {why}")
        if name.endswith(".safetensors") and not _is_safetensors(folder / name):
            raise UserError(f"{name} of model {model} is not in the safetensors format, whatever its name says")
        if name == CTRANSLATE2 and not _is_ctranslate2(folder / name):
            raise UserError(f"{name} of model {model} is not in CTranslate2's format: {_WHY_NO_PICKLES}")


def check_undamaged(model: str, folder: Path) -> None:
    """See that configurations can be read, and that weights are as long as they say: libraries that load them have no
    word for it when a copy was cut off.

    Raises:
        UserError: one is not.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            raise UserError(
                f"{path.name} of model {model} is damaged, it is no JSON ({error}): copy it again"
            ) from error
    for path in sorted(folder.glob("*.safetensors")):
        if not _is_whole_safetensors(path):
            raise UserError(f"{path.name} of model {model} is damaged or was not copied to its end: copy it again")


_WHY_NO_PICKLES = (
    "a pickle can run any code when it is loaded, and is refused; convert it to safetensors "
    "(`save_pretrained` of transformers does), and name that folder"
)


def is_weights(name: str) -> bool:
    """Whether a file that is read has weights, by its name."""
    return name.endswith(".safetensors") or name == CTRANSLATE2


def _is_read(name: str) -> bool:
    return Path(name).suffix in _MODEL_FILES or name == CTRANSLATE2


def _is_ctranslate2(path: Path) -> bool:
    """A file of CTranslate2 begins with its version and the name of a model's class, such as `WhisperSpec`."""
    with path.open("rb") as file:
        version, length = struct.unpack("<IH", file.read(6).ljust(6, b"\xff"))
        return version < 100 and re.fullmatch(rb"\w+Spec\0", file.read(length)) is not None


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8) and file.read(1) == b"{"


def _is_whole_safetensors(path: Path) -> bool:
    """Whether a file is as long as its header says: eight bytes of the header's length, the header, the tensors."""
    if not _is_safetensors(path):
        return False
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, IndexError, TypeError):
            return False
    return path.stat().st_size == 8 + length + max(ends, default=0)


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content as hex, read now."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content as hex, remembered by path, modification time and size."""
    status = path.stat()
    return _digest_of_version(path.resolve(), status.st_mtime_ns, status.st_size)


@cache
def _digest_of_version(path: Path, _mtime_ns: int, _size: int) -> str:
    return digest_of(path)


def torch_device(device: Device) -> "torch.device":
    """The torch device that a configuration's `device` means on this machine.

    Raises:
        ValueError: `cuda` is asked for and torch sees no GPU.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, but torch sees no GPU here")
    return torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))


def whole_model(model_class: Any, folder: Path, name: str, **options: Any) -> Any:
    """`model_class.from_pretrained(folder)` in evaluation mode, from safetensors only, and from that folder alone.

    Raises:
        ValueError: the files cannot be read, or weights are missing or of another shape, for which transformers would
            put random ones.
    """
    try:
        network, report = model_class.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
        )
    except (OSError, RuntimeError) as broken:
        raise UserError(f"model {name!r} cannot be loaded as a {model_class.__name__}: {broken}") from broken
    if absent := sorted(report["missing_keys"]):
        raise UserError(f"model {name!r} lacks {len(absent)} weights of a {model_class.__name__}, such as {absent[0]}")
    return network.eval()

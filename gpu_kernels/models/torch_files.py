"""Weights that `torch.save` wrote, read without torch and without running anything that a pickle may hold."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C


def read_state(path: Path) -> dict[str, NDArray[Any]]:
    """A state dict by name: float32 and int64 tensors as arrays of their shapes, not to be written to.

    Raises:
        UnpicklingError: it is no such file, or holds something else than tensors.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _ZipReader(archive, archive.namelist()[0].partition("/")[0]).load()
    with path.open("rb") as file:
        return _of_old_file(file)


class _Reader(pickle.Unpickler):
    """Knows nothing but tensors of two kinds."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): np.dtype("<f4"),
            ("torch", "LongStorage"): np.dtype("<i8"),
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} in a file of weights")
        return known[module, name]


class _ZipReader(_Reader):
    """Of torch 1.6 and later: an archive, with a file for each storage."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive, self._root = archive, root

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, dtype, key, *_ = pid
        return np.frombuffer(self._archive.read(f"{self._root}/data/{key}"), dtype)


class _OldReader(_Reader):
    """Of torch before 1.6: storages follow the pickle, so they are made empty first."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, NDArray[Any]] = {}

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        _, dtype, key, _, count, view = pid
        if view is not None:
            raise pickle.UnpicklingError("a storage that is a part of another in a file of weights")
        return self.storages.setdefault(key, np.empty(count, dtype))


def _of_old_file(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    if _Reader(file).load() != _MAGIC:
        raise pickle.UnpicklingError("not a file of torch's")
    _Reader(file).load()  # the version of the protocol
    _Reader(file).load()  # what the machine that wrote it was like
    reader = _OldReader(file)
    state = reader.load()
    for key in _Reader(file).load():
        storage = reader.storages[key]
        count = int.from_bytes(file.read(8), "little")
        content = file.read(storage.nbytes)
        if count != len(storage) or len(content) != storage.nbytes:
            raise pickle.UnpicklingError(f"storage {key} of a file of weights is cut short")
        storage[:] = np.frombuffer(content, storage.dtype)
    return state


def _tensor(storage: NDArray[Any], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides, writeable=False)

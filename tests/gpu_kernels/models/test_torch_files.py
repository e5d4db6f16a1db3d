"""Weights read without torch are those that torch reads, of both of its formats; nothing else is read."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from gpu_kernels.models.torch_files import read_state


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_are_the_tensors(tmp_path: Path, zipped: bool) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    state = {"whole": whole, "turned": whole.transpose(0, 2), "part": whole[1, 1:], "count": torch.tensor(7)}
    torch.save(state, path := tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    found = read_state(path)
    assert found.keys() == state.keys() and found["count"].dtype == np.int64
    assert all(np.array_equal(found[name], tensor.numpy()) for name, tensor in state.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_no_tensor_is_refused(tmp_path: Path, zipped: bool) -> None:
    torch.save({"x": Path("x")}, path := tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError, match="pathlib"):
        read_state(path)
    torch.save({"x": torch.ones(9)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(pickle.UnpicklingError, match="cut short"):
        read_state(path)
    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(pickle.UnpicklingError, match="not a file of torch's"):
        read_state(path)

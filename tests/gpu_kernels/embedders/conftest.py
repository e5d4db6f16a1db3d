import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def noise() -> list[np.ndarray]:
    """Four pictures of different sizes, RGB."""
    random = np.random.default_rng(0)
    sizes = [(96, 128), (64, 48), (33, 77), (40, 40)]
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]

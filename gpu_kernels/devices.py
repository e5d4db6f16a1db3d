"""The GPUs of this machine that models could run on, found without loading torch."""

import ctypes
import subprocess
from importlib.metadata import PackageNotFoundError, version


def gpu_count() -> int:
    """How many GPUs torch could use here: those that the driver shows, unless torch is built for the CPU alone."""
    try:
        if "+cpu" in version("torch"):
            return 0
        cuda = ctypes.CDLL("libcuda.so.1")
    except (PackageNotFoundError, OSError):
        return 0
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def gpu_memory_gib() -> float | None:
    """GiB of the smallest GPU of this machine; None: `nvidia-smi` is not here to say it."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return min(float(line) for line in answer.stdout.split()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return None

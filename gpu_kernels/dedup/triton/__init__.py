"""Kernels for NVIDIA GPUs, in Triton, which comes with torch there: imported only where a GPU is used."""

"""Vectors for frames: one network per backend."""

"""How good each measurement is: one module per asset, with a function `prove`. Run by `benchmarks/measurements.py`."""

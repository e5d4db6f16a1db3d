"""Measurements that clips are selected by, one module each. A module that is put here is on the graph.

These are there before `clip_selection` is declared, so none can be made from it, or from what comes after it.
"""

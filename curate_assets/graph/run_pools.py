"""Dagster's concurrency pools: what a deployment may want few runs to do at once.

The limits are the deployment's, `dagster instance concurrency set decode 4`; without one, a pool bounds nothing. A
multi-asset streams through all its stages in one op, and an op has one pool: that of what it runs short of first.
"""

DECODE = "decode"
"""Source videos are opened and decoded, and models run on what comes out: CPUs, scratch space, small GPU models."""

GPU = "gpu"
"""Captions are made by a large model, and clips are cut: the GPUs."""

STORAGE = "storage"
"""The rows or files of all shards are read: the network and the store."""

POOLS = (DECODE, GPU, STORAGE)

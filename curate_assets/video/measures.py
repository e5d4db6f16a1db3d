"""A few numbers of a shard's rows, kept in the history: what one shard is compared with others by.

A list of one number is also shown beside the materialization.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpu_kernels.clips import SECOND

Measures = Mapping[str, list[float]]

REJECTED = "rejected_share"
QUANTILES = tuple(step / 20 for step in range(21))


def damage(rows: pa.Table) -> Measures:
    """Of `shot_signals`: frames that were decoded, and what was damaged."""
    names = ["frames", "decode_errors", "damaged_frames"]
    found = _good(rows, names)
    return {name: [float(sum(row[name] or 0 for row in found))] for name in names}


def shot_lengths(rows: pa.Table) -> Measures:
    """Of `clips`: how many shots there are, and the QUANTILES of their lengths in seconds, dropped ones included."""
    lengths: dict[tuple[str, int], int] = defaultdict(int)
    for row in rows.select(["video_id", "shot", "start_ns", "end_ns"]).to_pylist():
        if row["shot"] is not None:
            lengths[row["video_id"], row["shot"]] += row["end_ns"] - row["start_ns"]
    if not lengths:
        return {"shots": [0.0], "shot_seconds": []}
    seconds = np.array(list(lengths.values())) / SECOND
    return {"shots": [float(len(seconds))], "shot_seconds": np.quantile(seconds, QUANTILES).tolist()}


def centroid(rows: pa.Table) -> Measures:
    """Of `clip_embeddings`: the mean of the vectors."""
    vectors = rows.filter(pc.field("status") == "ok")["vector"].combine_chunks()
    if len(vectors) == 0:
        return {"clips": [0.0], "centroid": []}
    matrix = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    return {"clips": [float(len(vectors))], "centroid": matrix.mean(axis=0, dtype=np.float64).tolist()}


def rejections(rows: pa.Table) -> Measures:
    """Of `clip_selection`: the shares of clips that are rejected, and that each reason rejects."""
    found = _good(rows, ["selected", "reasons"])
    if not found:
        return {"clips": [0.0]}
    reasons = Counter(reason for row in found for reason in row["reasons"])
    shares = {f"{REJECTED}_{reason}": [count / len(found)] for reason, count in sorted(reasons.items())}
    rejected = sum(not row["selected"] for row in found) / len(found)
    return {"clips": [float(len(found))], REJECTED: [rejected], **shares}


def _good(rows: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    return rows.filter(pc.field("status") == "ok").select(columns).to_pylist()

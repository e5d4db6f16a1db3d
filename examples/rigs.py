"""A graph of its own whose units are folders: what a car recorded, a camera's pictures and a LiDAR's sweeps together.

    takes/2026-11-01/
        camera/000.png, camera/001.png, ...
        lidar/000.npy, ...       float32 [points, 4]: x, y, z in metres, intensity
        log.json                 need not be there

A folder is a unit once it has files of every role that is needed; when one of its files changes, it is another content
and is computed again. See `pictures.py` for how a package brings a graph.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets import (
    MANIFEST,
    Asset,
    Column,
    Graph,
    Role,
    Row,
    Stage,
    Storage,
    Table,
    UnitFiles,
    UnitTable,
    Work,
    Worker,
)
from curate_resources.storage.local_copies import hashed_copy

RIG_ID = Column("rig_id", pa.string(), "id of the recording: a digest of the contents of all its files")

SOURCE_RIGS = Table(
    name="source_rigs",
    grain=MANIFEST.grain,
    keys=("uri",),
    linked_by=("rig_id",),
    identity=("rig_id",),
    distinct="rig_id",
    columns=(
        Column("uri", pa.string(), "the folder, as in the shard's manifest"),
        RIG_ID,
        Column("pictures", pa.int32(), "files of the camera"),
        Column("sweeps", pa.list_(pa.string()), "files of the LiDAR, in order"),
    ),
    description="Every recording of the shard, and what belongs to it.",
)

SWEEPS = Table(
    name="sweeps",
    grain="sweep",
    keys=("rig_id", "sweep"),
    columns=(
        RIG_ID,
        Column("sweep", pa.int32(), "number of the sweep in its recording, from 0"),
        Column("points", pa.int64(), "points of the sweep"),
        Column("farthest", pa.float32(), "distance of the farthest point in metres"),
    ),
    description="Every sweep of a LiDAR.",
)


def open_identifier(config: Any, storage: Storage) -> Worker:
    """A worker that hashes the files of recordings."""

    def identify(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for item in work.items.to_pylist():
            digest = hashlib.sha256()
            for file in item["files"]:
                with hashed_copy(file["uri"]) as (_, content):
                    name = file["uri"].removeprefix(item["uri"])
                    digest.update(f"{file['role']} {name} {content.id}\n".encode())
            roles = [file["role"] for file in item["files"]]
            sweeps = [file["uri"] for file in item["files"] if file["role"] == "lidar"]
            about = {"pictures": roles.count("camera"), "sweeps": sweeps}
            rows.append({"uri": item["uri"], "rig_id": digest.hexdigest()[:32], **about})
        return {SOURCE_RIGS.name: rows}

    return identify


def open_measurer(config: Any, storage: Storage) -> Worker:
    """A worker that reads sweeps."""

    def measure(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for rig in work.items.to_pylist():
            for number, uri in enumerate(rig["sweeps"]):
                with hashed_copy(uri) as (path, _):
                    points = np.load(path, allow_pickle=False)
                farthest = float(np.linalg.norm(points[:, :3], axis=1).max(initial=0.0))
                rows.append({"rig_id": rig["rig_id"], "sweep": number, "points": len(points), "farthest": farthest})
        return {SWEEPS.name: rows}

    return measure


IDENTIFY = Stage("identify", MANIFEST.name, (), (SOURCE_RIGS,), open_identifier, heavy=True)
MEASURE = Stage("measure_sweeps", SOURCE_RIGS.name, (), (SWEEPS,), open_measurer, heavy=True)

RIGS = Graph(
    name="rigs",
    units=UnitTable(
        SOURCE_RIGS,
        UnitFiles(
            "rig",
            roles={"camera": Role("camera/*.png"), "lidar": Role("lidar/*.npy"), "log": Role("log.json", needed=False)},
        ),
        id=RIG_ID.name,
        parts=SWEEPS.grain,
    ),
    listed=(Asset(SOURCE_RIGS, IDENTIFY, group="sources"), Asset(SWEEPS, MEASURE, group="measurements")),
)

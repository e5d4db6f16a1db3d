"""A graph of its own: folders of pictures in, sizes, brightness and thumbnails out. A unit is one file.

A package brings it by an entry point, and a root says in its curate.yaml that it is curated by it:

    [project.entry-points."curate.graphs"]
    pictures = "pictures:PICTURES"

    graph: pictures
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from curate_assets import (
    MANIFEST,
    Asset,
    Column,
    Graph,
    Row,
    Stage,
    Storage,
    StrictModel,
    Table,
    UnitFiles,
    UnitTable,
    Work,
    Worker,
)
from curate_resources.storage.content import Content
from curate_resources.storage.local_copies import hashed_copy, local_copy

PICTURE_ID = Column("picture_id", pa.string(), "id of the picture: the start of the SHA-256 of its content")

SOURCE_PICTURES = Table(
    name="source_pictures",
    grain=MANIFEST.grain,
    keys=("uri",),
    linked_by=("picture_id",),
    identity=("picture_id",),
    distinct="picture_id",
    columns=(
        Column("uri", pa.string(), "the file, as in the shard's manifest"),
        PICTURE_ID,
        Column("bytes", pa.int64(), "size of the file"),
        Column("version", pa.string(), "what changes with the file's content"),
        Column("width", pa.int32(), "width in pixels"),
        Column("height", pa.int32(), "height in pixels"),
    ),
    description="Every picture of the shard, and what it is.",
)


class ThumbnailsConfig(StrictModel):
    """How thumbnails are made."""

    side: int = Field(default=128, ge=16, le=1024)
    """Length of the longer side in pixels."""


THUMBNAILS = Table(
    name="thumbnails",
    grain="picture",
    keys=("picture_id",),
    sections=("thumbnails",),
    media="media/thumbnails",
    columns=(
        PICTURE_ID,
        Column("path", pa.string(), "the JPEG, below the root"),
        Column("bytes", pa.int64(), "its size"),
        Column("brightness", pa.float32(), "mean of its luma, 0 to 1"),
    ),
    description="A small JPEG of each picture.",
)


def open_reader(config: Any, storage: Storage) -> Worker:
    """A worker that hashes and measures pictures."""

    def read(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for uri in work.items["uri"].to_pylist():
            with hashed_copy(uri) as (path, content), Image.open(path) as picture:
                picture.verify()
                facts = {"picture_id": content.id, "bytes": content.bytes, "version": content.version}
                rows.append({"uri": uri, **facts, "width": picture.width, "height": picture.height})
        return {SOURCE_PICTURES.name: rows}

    return read


def open_thumbnailer(config: Any, storage: Storage) -> Worker:
    """A worker that writes thumbnails."""
    side: int = config.section(THUMBNAILS.name, ThumbnailsConfig).side

    def shrink(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        for row, fingerprint in zip(work.items.to_pylist(), work.fingerprints[THUMBNAILS.name], strict=True):
            known = Content(row["picture_id"], row["bytes"], row["version"])
            with local_copy(row["uri"], known) as path, Image.open(path) as picture:
                small = picture.convert("RGB")
                small.thumbnail((side, side))
            jpeg = io.BytesIO()
            small.save(jpeg, "JPEG")
            target = f"{THUMBNAILS.media}/{row['picture_id']}-{fingerprint[:8]}.jpg"
            storage.write(target, jpeg.getvalue())
            brightness = float(np.asarray(small.convert("L")).mean()) / 255
            about = {"path": target, "bytes": len(jpeg.getvalue()), "brightness": brightness}
            rows.append({"picture_id": row["picture_id"], **about})
        return {THUMBNAILS.name: rows}

    return shrink


READ = Stage("read", MANIFEST.name, (), (SOURCE_PICTURES,), open_reader, heavy=True)
SHRINK = Stage("shrink", SOURCE_PICTURES.name, (), (THUMBNAILS,), open_thumbnailer, heavy=True)

PICTURES = Graph(
    name="pictures",
    units=UnitTable(
        SOURCE_PICTURES, UnitFiles("picture", frozenset({".png", ".jpg", ".jpeg", ".webp"})), id=PICTURE_ID.name
    ),
    listed=(
        Asset(SOURCE_PICTURES, READ, group="sources"),
        Asset(THUMBNAILS, SHRINK, group="measurements", section=ThumbnailsConfig),
    ),
)

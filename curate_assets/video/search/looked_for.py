"""Vectors of what is looked for: of a stored clip, of a file, and of words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate_assets.graph.graph import Graph
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.search.rankings import Model
from curate_resources.declarations.table import Table
from curate_resources.suggestions import did_you_mean
from curate_resources.tables.lance_tables import Tables, quoted
from gpu_kernels.embedders.embedder import EMBEDDERS
from gpu_kernels.embedders.types import ClipEmbeddingsConfig, embedded
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.media.storyboards import StoryboardsConfig
from gpu_kernels.sandbox import MediaError, Nursery
from gpu_kernels.scan.given_pictures import pictures_of


@dataclass(frozen=True)
class LookedFor:
    """What is looked for as pictures are.

    Attributes:
        vector: unit, [d].
        model: who made it.
        clip: that it is of, if it is a stored one's.
        than: vectors of nothing in particular, [n, d]; what is nearer to one of them is not what is looked for.
    """

    vector: NDArray[np.floating[Any]]
    model: Model
    clip: ClipKey | None = None
    than: NDArray[np.floating[Any]] | None = None


_NOTHING = ("object", "things", "stuff", "texture")
"""Words that any picture fits. How near words and pictures are differs from model to model, but what shows a thing is
nearer to its name than to these: the relevancy of J. Kerr et al., "LERF", ICCV 2023, and its phrases."""


def vector_tables(graph: Graph) -> dict[str, Table]:
    """The tables with a vector of every clip's pictures, by name: `clip_embeddings` and its variants."""
    return {asset.name: asset.table for asset in graph.assets if asset.section is EMBEDDERS}


def vector_table(tables: Tables, graph: Graph, name: str | None) -> Table:
    """One of these that has rows.

    Raises:
        UserError: there is no such table.
        NotThere: it was never materialized.
    """
    known = vector_tables(graph)
    wanted = name or CLIP_EMBEDDINGS.name
    if wanted not in known:
        hint = did_you_mean(wanted, known) or f": there are {', '.join(known)}"
        raise UserError(f"{wanted!r} is no table of clips' vectors{hint}")
    if not tables.exists(wanted):
        raise NotThere(f"there is no table {wanted} yet: `curate materialize --select {wanted}`")
    return known[wanted]


def like(tables: Tables, table: Table, config: Any, given: str) -> LookedFor:
    """What is like a clip, or the pictures of a file.

    Args:
        config: with the storyboards that the table is made from.
        given: a clip's id, or the path of a picture or a video.

    Raises:
        UserError: it is neither, or the file cannot be decoded.
    """
    if _is_file(given):
        return _of_file(table, config, given)
    return _of_clip(tables, table, given)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # longer than a name can be, or in a folder that may not be read
        return False


def as_picture(table: Table, config: Any, words: str) -> LookedFor | None:
    """What shows what some words say; None: the embedder of the table knows no words."""
    section: ClipEmbeddingsConfig = getattr(config, table.name)
    if not section.knows_words:
        return None
    texts = section.load_text()
    vector, *nothing = texts.embed_text([words, *(each for each in _NOTHING if each != words.strip().casefold())])
    return LookedFor(vector, Model(texts.name, texts.revision), than=np.stack(nothing))


def _of_clip(tables: Tables, table: Table, clip: str) -> LookedFor:
    columns = ["shard", "clip_id", "vector", "model", "model_revision"]
    rows = tables.read(table, columns=columns, where=f"clip_id = {quoted(clip)} AND status = 'ok'").to_pylist()
    if not rows:
        there = "a clip with a row in" if "/" not in clip and "." not in clip else "a file, nor a clip with a row in"
        raise NotThere(
            f"--like {clip}: it is not {there} {table.name}; `curate query 'select clip_id from {table.name}'`"
        )
    row = rows[0]
    model = Model(row["model"], row["model_revision"])
    return LookedFor(np.array(row["vector"], np.float32), model, ClipKey(row["clip_id"], row["shard"]))


def _of_file(table: Table, config: Any, path: str) -> LookedFor:
    board: StoryboardsConfig = config.storyboards
    section: ClipEmbeddingsConfig = getattr(config, table.name)
    embedder = section.load()
    with Nursery(config.limits) as nursery:
        try:
            pictures = pictures_of(nursery, path, board)
        except MediaError as error:
            raise UserError(f"--like {path}: {error}") from error
    vector, _ = embedded(embedder, pictures)
    return LookedFor(vector, Model(embedder.name, embedder.revision))

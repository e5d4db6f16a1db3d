"""The centroids of `concept_clusters`, trained once and stored under the root, by a name that stands for the settings
and the model of the vectors."""

import hashlib
import io
from dataclasses import dataclass

import numpy as np

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.clip_vectors import Vectors, good_rows, selected_vectors
from curate_assets.video.duplicates.selected_clips import digest
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables, quoted
from gpu_kernels.dedup.concepts import ConceptClustersConfig
from gpu_kernels.dedup.kmeans import kmeans
from gpu_kernels.errors import UserError

FOLDER = "concepts"
_LEAST = 10
"""Clips per cluster from which trained centroids are kept; of fewer, they are trained anew each time."""


@dataclass(frozen=True)
class Centroids:
    """Float32 [k, d] at unit length, and whether they stay for clips that come later."""

    matrix: np.ndarray
    kept: bool

    @property
    def digest(self) -> str:
        """What stands for them."""
        return hashlib.sha256(repr(self.matrix.shape).encode() + self.matrix.tobytes()).hexdigest()[:32]


def kept_vectors(tables: Tables) -> Vectors:
    """The vectors of the clips that are selected and the keepers of their groups."""
    rows = good_rows(tables, DUPLICATE_GROUPS, ["shard", "clip_id", "keeper"])
    keepers = {ClipKey(row["clip_id"], row["shard"]) for row in rows if row["keeper"]}
    every = selected_vectors(tables)
    own = [row for row, node in enumerate(every.nodes) if node in keepers]
    return Vectors([every.nodes[row] for row in own], every.matrix[own], [every.fingerprints[row] for row in own])


def centroids_of(tables: Tables, vectors: Vectors, config: ConceptClustersConfig) -> Centroids:
    """The stored centroids, or else trained ones, which are stored if there are enough vectors.

    Args:
        vectors: at least one.
        config: with a number of clusters.

    Raises:
        UserError: what is stored is damaged.
    """
    assert config.clusters is not None
    storage, path = tables.storage, f"{FOLDER}/{_name(tables, vectors.nodes[0], config)}.npy"
    if not storage.exists(path):
        made = kmeans(vectors.matrix, min(config.clusters, len(vectors.nodes)), config.iterations, config.seed)
        if len(vectors.nodes) < _LEAST * config.clusters:
            return Centroids(made, False)
        file = io.BytesIO()
        np.save(file, made)
        storage.create(path, file.getvalue())  # another run may have been first: then its centroids count
    return Centroids(_stored(storage, path, vectors.matrix.shape[1]), True)


def _name(tables: Tables, node: ClipKey, config: ConceptClustersConfig) -> str:
    """Other settings, another model or another generation have another name."""
    where = f"clip_id = {quoted(node.clip_id)} AND status = 'ok'"
    (model, *_) = tables.read(CLIP_EMBEDDINGS, node.shard, ["model", "model_revision"], where).to_pylist()
    settings = {key: value for key, value in config.settings().items() if key != "neighbours"}
    return digest([model, settings])[:16]


def _stored(storage: Storage, path: str, dimensions: int) -> np.ndarray:
    try:
        found = np.load(io.BytesIO(storage.read(path)), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{storage.uri(path)} is damaged: delete it, and the clusters are trained anew") from error
    if found.ndim != 2 or found.shape[1] != dimensions or found.dtype != np.float32:
        raise UserError(f"{storage.uri(path)} holds no centroids of {dimensions} dimensions: delete it")
    return found

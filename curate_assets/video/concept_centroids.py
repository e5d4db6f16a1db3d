"""The centroids of `concept_clusters`, trained once and stored under the root, by a name that stands for the settings
and the model of the vectors."""

import hashlib
import io
from dataclasses import dataclass

import numpy as np

from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.duplicates.selected_clips import digest
from curate_assets.video.kept_vectors import KeptVectors
from curate_resources.storage.root import Storage
from curate_resources.tables import vector_clusters
from curate_resources.tables.lance_tables import Tables, quoted
from curate_resources.tables.stored_vectors import Share, in_turn
from curate_resources.tables.vector_clusters import Training
from gpu_kernels.dedup.concepts import ConceptClustersConfig
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


def centroids_of(tables: Tables, kept: KeptVectors, config: ConceptClustersConfig, share: Share = in_turn) -> Centroids:
    """The stored centroids, or else trained ones, which are stored if there are enough vectors.

    Args:
        kept: at least one.
        config: with a number of clusters.
        share: does the parts of the training; the result is the same.

    Raises:
        UserError: what is stored is damaged.
    """
    assert config.clusters is not None
    first = ClipKey(kept.rows["clip_id"][0].as_py(), kept.rows["shard"][0].as_py())
    storage, path = tables.storage, f"{FOLDER}/{_name(tables, first, config)}.npy"
    if not storage.exists(path):
        count = min(config.clusters, kept.rows.num_rows)
        training = Training(config.iterations, config.seed, config.mini_batch, config.device)
        made = vector_clusters.clusters(kept.vectors, count, training, share, kept.order)
        if kept.rows.num_rows < _LEAST * config.clusters:
            return Centroids(made, False)
        file = io.BytesIO()
        np.save(file, made)
        storage.create(path, file.getvalue())  # another run may have been first: then its centroids count
    return Centroids(_stored(storage, path, kept.vectors.fetch(kept.order[:1]).shape[1]), True)


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

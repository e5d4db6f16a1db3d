"""`concept_clusters`: clusters of the clips that are kept, by what they show, of all shards."""

from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.contact_sheet import contact_sheet
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.whole_table import Gathered, Made, Markdown
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.clip_vectors import good_rows, rows_by_shard
from curate_assets.video.concept_centroids import Centroids, centroids_of, kept_vectors
from curate_assets.video.duplicates.selected_clips import digest
from curate_assets.video.thumbnails import Place, thumbnails
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.pipeline.commit import in_order
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.dedup.concepts import ConceptClustersConfig, concepts

CONCEPT_CLUSTERS = Table(
    name="concept_clusters",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("concept_clusters",),
    identity=("cluster",),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("cluster", pa.int32(), "number of the cluster, from 0"),
        Column("distance", pa.float32(), "cosine distance to the cluster's centroid"),
        Column(
            "isolation",
            pa.float32(),
            "1 less the mean cosine with its nearest `concept_clusters.neighbours` clips of the cluster; null where it "
            "has no other",
        ),
        Column("centroids", pa.string(), "digest of the centroids that it was compared with"),
    ),
    description=(
        "Every kept clip, the cluster of clips like it by k-means over the embeddings, and how typical it is of that "
        "cluster. Off until `concept_clusters.clusters` says how many clusters there are. The centroids stay as they "
        "are when clips come."
    ),
)

_SHEETS, _EACH = 6, 6


def cluster_concepts(tables: Tables, config: ConceptClustersConfig) -> tuple[dict[str, pa.Table], Centroids | None]:
    """Rows of every shard, and the centroids; none where it is off or no clip is kept.

    Raises:
        UserError: the stored centroids are damaged, or the vectors are of several models.
    """
    vectors = None if config.clusters is None else kept_vectors(tables)
    if vectors is None or not vectors.nodes:
        return {}, None
    centroids = centroids_of(tables, vectors, config)
    found, pinned = concepts(vectors.matrix, centroids.matrix, config.neighbours), centroids.digest
    grouped = good_rows(tables, DUPLICATE_GROUPS, ["shard", "clip_id", "video_id"])
    videos = {ClipKey(row["clip_id"], row["shard"]): row["video_id"] for row in grouped}
    made: dict[str, list[Row]] = {}
    for row, (node, fingerprint) in enumerate(zip(vectors.nodes, vectors.fingerprints, strict=True)):
        alone = float(found.isolation[row])
        of_it = [CONCEPT_CLUSTERS.name, CONCEPT_CLUSTERS.version, config.neighbours, pinned, fingerprint]
        made.setdefault(node.shard, []).append(
            {
                "shard": node.shard,
                "video_id": videos[node],
                "clip_id": node.clip_id,
                "cluster": int(found.clusters[row]),
                "distance": float(found.distances[row]),
                "isolation": None if np.isnan(alone) else alone,
                "centroids": pinned,
                "status": "ok",
                "fingerprint": digest(of_it),
            }
        )
    tabled = {
        shard: in_order(CONCEPT_CLUSTERS, [pa.Table.from_pylist(rows, schema=CONCEPT_CLUSTERS.rows_schema)])
        for shard, rows in made.items()
    }
    return tabled, centroids


def _made(tables: Tables, config: PlatformConfig, _: str) -> Made:
    rows, centroids = cluster_concepts(tables, config.section(CONCEPT_CLUSTERS.name, ConceptClustersConfig))
    if centroids is None:
        return Made(rows, {"clusters": 0})
    whole = CONCEPT_CLUSTERS.joined(rows)
    sizes = np.bincount(whole["cluster"].to_numpy(), minlength=len(centroids.matrix))
    return Made(
        rows,
        {
            "clusters": int(np.count_nonzero(sizes)),
            "clips": whole.num_rows,
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
            "centroids": centroids.digest,
            "centroids_stay": centroids.kept,
            "largest_clusters": Markdown(_sheets(tables, whole, sizes) or "no pictures yet"),
        },
    )


def _sheets(tables: Tables, rows: pa.Table, sizes: np.ndarray) -> str:
    """A sheet for each of the largest clusters: the clips nearest to its centroid."""
    nearest: dict[int, list[ClipKey]] = {number: [] for number in np.argsort(-sizes, kind="stable")[:_SHEETS].tolist()}
    for row in sorted(rows.to_pylist(), key=lambda row: (row["distance"], row["clip_id"])):
        members = nearest.get(row["cluster"])
        if members is not None and len(members) < _EACH:
            members.append(ClipKey(row["clip_id"], row["shard"]))
    places = [
        Place(shard, clip["video_id"], clip["clip_id"], clip["start_frame"], clip["end_frame"])
        for shard, clips in rows_by_shard(tables, [node for nodes in nearest.values() for node in nodes]).items()
        for clip in clips
    ]
    pictures = {ClipKey(place.clip_id, place.shard): jpeg for place, jpeg in thumbnails(tables, places).items()}
    said: list[str] = []
    for number, nodes in nearest.items():
        jpegs = [pictures[node] for node in nodes if node in pictures]
        if sheet := contact_sheet(f"cluster {number}", [lambda jpeg=jpeg: jpeg for jpeg in jpegs]):
            said.append(f"**{number}**: {sizes[number]:,} clips, {sizes[number] / rows.num_rows:.1%}\n\n{sheet}")
    return "\n\n".join(said)


def clusters_are_made(config: Any) -> bool:
    """Whether there are clusters with a configuration."""
    return config.concept_clusters.clusters is not None


GATHER = Gathered(CONCEPT_CLUSTERS, _made, (CLIP_EMBEDDINGS, CLIP_SELECTION, DUPLICATE_GROUPS))

ASSET = Asset(
    CONCEPT_CLUSTERS,
    GATHER,
    "delivery",
    section=ConceptClustersConfig,
    same_for_all="clips of all shards are clustered",
    exported=True,
)

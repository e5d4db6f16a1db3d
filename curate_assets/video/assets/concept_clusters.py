"""`concept_clusters`: clusters of the clips that are kept, by what they show, of all shards."""

from typing import Any

import numpy as np
import pyarrow as pa

from curate_assets.graph.contact_sheet import contact_sheet
from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.shared_work import share_of
from curate_assets.graph.whole_table import Gathered, Made, Markdown
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIP_ID
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.clip_key import ClipKey
from curate_assets.video.clip_vectors import rows_by_shard
from curate_assets.video.concept_centroids import FOLDER, Centroids, centroids_of
from curate_assets.video.duplicates.selected_clips import digest
from curate_assets.video.kept_vectors import kept_vectors
from curate_assets.video.thumbnails import Place, thumbnails
from curate_resources.declarations.table import Column, Table
from curate_resources.pipeline.commit import in_order
from curate_resources.tables import vector_clusters
from curate_resources.tables.lance_tables import Tables
from curate_resources.tables.stored_vectors import Rows, Share, StoredVectors, in_turn
from curate_resources.tables.vector_clusters import grouped
from gpu_kernels.dedup.concepts import ConceptClustersConfig, ConceptMembers, members

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


def cluster_concepts(
    tables: Tables, config: ConceptClustersConfig, share: Share = in_turn
) -> tuple[dict[str, pa.Table], Centroids | None]:
    """Rows of every shard, and the centroids; none where it is off or no clip is kept.

    In memory are the names of the clips and the largest cluster; the vectors lie below the root meanwhile.

    Args:
        share: does the parts of the work; the rows are the same.

    Raises:
        UserError: the stored centroids are damaged, or the vectors are of several models.
    """
    if config.clusters is None:
        return {}, None
    with kept_vectors(tables, FOLDER) as kept:
        if kept is None:
            return {}, None
        centroids = centroids_of(tables, kept, config, share)
        nearest = vector_clusters.assigned(kept.vectors, centroids.matrix, share, config.device)
        by_clip = nearest[kept.order]
        order = kept.order[np.argsort(by_clip, kind="stable")]
        clusters = np.split(order, np.cumsum(np.bincount(by_clip, minlength=len(centroids.matrix)))[:-1])
        distances, alone = np.zeros((2, len(nearest)), np.float32)
        with grouped(kept.vectors, nearest, tables.storage, FOLDER) as (vectors, became):
            parts = [(number, became[rows]) for number, rows in enumerate(clusters) if len(rows)]
            found = share(_measured, (vectors, centroids.matrix, config.neighbours), parts)
            for rows, each in zip((rows for rows in clusters if len(rows)), found, strict=True):
                distances[rows], alone[rows] = each.distances, each.isolation
    pinned = centroids.digest
    of_all = [CONCEPT_CLUSTERS.name, CONCEPT_CLUSTERS.version, config.neighbours, pinned]
    columns = {
        **{name: kept.rows[name] for name in ("shard", "video_id", "clip_id")},
        "cluster": nearest,
        "distance": distances,
        "isolation": pa.array(alone, from_pandas=True),
        "centroids": pa.repeat(pinned, len(nearest)),
        "status": pa.repeat("ok", len(nearest)),
        "fingerprint": [digest([*of_all, each]) for each in kept.rows["fingerprint"].to_pylist()],
    }
    return _by_shard(columns), centroids


def _measured(common: tuple[StoredVectors, np.ndarray, int], part: tuple[int, Rows]) -> ConceptMembers:
    """One cluster, given by where its vectors are."""
    (vectors, centroids, neighbours), (number, rows) = common, part
    return members(vectors.fetch(rows), centroids[number], neighbours)


def _by_shard(columns: dict[str, Any]) -> dict[str, pa.Table]:
    schema = CONCEPT_CLUSTERS.rows_schema
    made = pa.table({name: columns.get(name, pa.nulls(len(columns["cluster"]))) for name in schema.names})
    made = made.cast(schema).sort_by("shard")
    shards = made["shard"].combine_chunks().dictionary_encode()
    ends = np.cumsum(np.bincount(shards.indices.to_numpy(), minlength=len(shards.dictionary))).tolist()
    return {
        name: in_order(CONCEPT_CLUSTERS, [made.slice(start, end - start)])
        for name, start, end in zip(shards.dictionary.to_pylist(), [0, *ends], ends, strict=False)
    }


def _made(tables: Tables, config: PlatformConfig, _: str) -> Made:
    own = config.section(CONCEPT_CLUSTERS.name, ConceptClustersConfig)
    rows, centroids = cluster_concepts(tables, own, share_of(config))
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

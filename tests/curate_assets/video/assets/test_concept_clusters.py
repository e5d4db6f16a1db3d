"""Clusters of planted clips, that stay when clips come, and the balanced training sets that are made by them."""

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from pydantic import ValidationError

from curate_assets.orchestration.asset_selection import selected
from curate_assets.orchestration.runs import register_shards, run_assets
from curate_assets.settings.resolve import CurationConfig, validated
from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.concept_clusters import CONCEPT_CLUSTERS, GATHER, cluster_concepts
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.measurements.clip_labels import CLIP_LABELS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.training_dataset import TRAINING_DATASET, TrainingDatasetConfig, write_dataset
from curate_assets.video.concept_centroids import FOLDER
from curate_assets.video.report.contents import gather
from curate_assets.video.report.page import render
from curate_resources.declarations.table import Row
from curate_resources.engines.ray_cluster import RayCluster
from curate_resources.engines.shared_work import on_ray
from curate_resources.tables.history import ALL_SHARDS
from gpu_kernels.dedup.concepts import ConceptClustersConfig
from gpu_kernels.errors import UserError
from gpu_kernels.shots.splitting import SECOND

KINDS = {"sea": 40, "town": 20, "owl": 4}
THREE = ConceptClustersConfig(clusters=3)


def put(root: TemporaryRoot, shard: str, kinds: dict[str, int], seed: int = 0) -> None:
    """A shard with so many clips of each kind, each with a file; their vectors lie around a direction of the kind's.
    One clip more is rejected, and one is a duplicate."""
    random = np.random.default_rng([seed, *shard.encode()])
    names = [f"{kind}-{shard}-{number}" for kind, count in kinds.items() for number in range(count)]
    names += [f"sea-{shard}-rejected", f"sea-{shard}-duplicate"]
    root.add(shard, [f"/videos/{shard}.mp4"])
    clips: list[Row] = []
    for number, name in enumerate(names):
        vector = np.eye(3, 32)[[*KINDS].index(name.split("-")[0])] + random.normal(0, 0.05, 32)
        own = {"video_id": shard, "clip_id": name, "fingerprint": name, "label": name.split("-")[0]}
        clips.append({**own, "vector": (vector / np.linalg.norm(vector)).tolist(), "number": number})
    own_keys = ("video_id", "clip_id", "fingerprint")

    def store(table: Any, *rows: Row) -> None:
        root.store(table, shard, rows)

    def each(**more: Any) -> list[Row]:
        return [{**{key: clip[key] for key in own_keys}, **more} for clip in clips]

    video = {"uri": f"/videos/{shard}.mp4", "width": 640, "height": 360, "average_rate": 25.0}
    store(SOURCE_VIDEOS, {"video_id": shard, **video, "duration_ns": 900 * SECOND, "bytes": 1})
    spans = [
        {"start_frame": 100 * n, "end_frame": 100 * n + 100, "start_ns": 4 * n * SECOND, "end_ns": 4 * (n + 1) * SECOND}
        for n in range(len(clips))
    ]
    store(CLIPS, *({**row, **span} for row, span in zip(each(), spans, strict=True)))
    store(CLIP_SELECTION, *({**row, "selected": not row["clip_id"].endswith("rejected")} for row in each()))
    model = {"model": "m", "model_revision": "1"}
    store(
        CLIP_EMBEDDINGS, *({**row, **model, "vector": clip["vector"]} for row, clip in zip(each(), clips, strict=True))
    )
    store(CLIP_LABELS, *({**row, "labels": [clip["label"], "thing"]} for row, clip in zip(each(), clips, strict=True)))
    grouped = [row for row in each() if not row["clip_id"].endswith("rejected")]
    store(DUPLICATE_GROUPS, *({**row, "keeper": not row["clip_id"].endswith("duplicate")} for row in grouped))
    files: list[Row] = []
    for row in each(width=640, height=360, frames=100, duration_ns=4 * SECOND, has_audio=False):
        data, path = row["clip_id"].encode(), f"media/clips/{row['clip_id']}.mp4"
        root.storage.write(path, data)
        files.append({**row, "path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    store(CLIP_FILES, *files)


@pytest.fixture
def root(tmp_path: Path) -> TemporaryRoot:
    made = TemporaryRoot(tmp_path)
    put(made, "a", KINDS)
    return made


def clusters(root: TemporaryRoot, config: ConceptClustersConfig = THREE) -> dict[str, Row]:
    """By clip, its row."""
    rows, _ = cluster_concepts(root.tables, config)
    root.tables.replace(CONCEPT_CLUSTERS, rows)
    return {row["clip_id"]: row for row in root.rows(CONCEPT_CLUSTERS)}


def kinds_of(found: dict[str, Row]) -> dict[int, set[str]]:
    """By cluster, the kinds of its clips."""
    return {
        number: {clip.split("-")[0] for clip, row in found.items() if row["cluster"] == number}
        for number in {row["cluster"] for row in found.values()}
    }


@pytest.mark.parametrize("mini_batch", [False, True])
def test_kept_clips_are_clustered_by_what_they_show(root: TemporaryRoot, mini_batch: bool) -> None:
    assert cluster_concepts(root.tables, ConceptClustersConfig()) == ({}, None)  # off by default
    found = clusters(root, ConceptClustersConfig(clusters=3, mini_batch=mini_batch))
    assert len(found) == sum(KINDS.values()) and not any(clip.endswith(("rejected", "duplicate")) for clip in found)
    assert sorted(kinds_of(found).values(), key=sorted) == [{"owl"}, {"sea"}, {"town"}]
    assert all(0 <= row["distance"] < 0.2 and 0 < row["isolation"] < 0.3 for row in found.values())
    vectors = {row["clip_id"]: np.array(row["vector"]) for row in root.rows(CLIP_EMBEDDINGS)}
    owls = [clip for clip in found if clip.startswith("owl")]
    cosines = [vectors[owls[0]] @ vectors[clip] for clip in owls[1:]]  # of fewer than five others
    assert found[owls[0]]["isolation"] == pytest.approx(1 - np.mean(cosines), abs=1e-5)


def test_clusters_keep_their_numbers_when_shards_come_until_they_are_asked_to_be_trained_anew(
    root: TemporaryRoot,
) -> None:
    before = clusters(root)
    put(root, "b", {"town": 90, "owl": 60}, seed=1)
    after = clusters(root)
    assert {clip: after[clip]["cluster"] for clip in before} == {clip: row["cluster"] for clip, row in before.items()}
    assert {row["centroids"] for row in after.values()} == {row["centroids"] for row in before.values()}
    assert [after[clip]["distance"] for clip in before] == [row["distance"] for row in before.values()]
    assert sorted(kinds_of(after).values(), key=sorted) == [{"owl"}, {"sea"}, {"town"}]
    other = clusters(root, ConceptClustersConfig(clusters=3, generation=2))
    assert {row["centroids"] for row in other.values()}.isdisjoint({row["centroids"] for row in after.values()})
    assert clusters(root) == after  # and back


@pytest.mark.deep
def test_workers_of_ray_make_the_same_rows(root: TemporaryRoot) -> None:
    put(root, "b", {"town": 90, "owl": 60}, seed=1)
    here, _ = cluster_concepts(root.tables, ConceptClustersConfig(clusters=30))
    import ray  # here, because on import it takes down how clusters authenticate, which other tests change

    try:
        there, _ = cluster_concepts(root.tables, ConceptClustersConfig(clusters=30), on_ray(RayCluster(2)))
    finally:
        ray.shutdown()
    assert len(here) == 2 and here == there


def test_centroids_of_few_clips_do_not_stay(root: TemporaryRoot) -> None:
    found, centroids = cluster_concepts(root.tables, ConceptClustersConfig(clusters=30))
    assert centroids is not None and not centroids.kept
    assert root.storage.files(FOLDER) == root.storage.folders(FOLDER) == []
    assert len({row for part in found.values() for row in part["cluster"].to_pylist()}) == 30
    clusters(root)
    (name,) = root.storage.files(FOLDER)
    root.storage.write(f"{FOLDER}/{name}", b"no array")
    with pytest.raises(UserError, match="is damaged: delete it"):
        clusters(root)


def shares(root: TemporaryRoot, **balance: Any) -> dict[str, int]:
    """Samples by kind; every clip that is none says why."""
    config = TrainingDatasetConfig.model_validate({"balance": balance})
    rows = TRAINING_DATASET.joined(write_dataset(root.tables, config).rows).to_pylist()
    assert len(rows) == len({row["clip_id"] for row in root.rows(CONCEPT_CLUSTERS)})
    assert {(row["status"], row["left_out"]) for row in rows} <= {("ok", None), ("empty", "not_sampled")}
    chosen = [row["clip_id"].split("-")[0] for row in rows if row["status"] == "ok"]
    return {kind: chosen.count(kind) for kind in KINDS}


def test_a_set_is_balanced_by_clusters_or_labels(root: TemporaryRoot) -> None:
    found = clusters(root)
    number = {kind: str(row["cluster"]) for clip, row in found.items() for kind in KINDS if clip.startswith(kind)}
    # 40, 20 and 4, of which 20 is the median: √(40 · 20) of the sea, and the others whole.
    assert shares(root) == shares(root, by="label") == {"sea": 28, "town": 20, "owl": 4}
    # The roots of 40, 20 and 4 are as 7.9 to 5.6 to 2.5 of 16.
    assert shares(root, samples=16) == {"sea": 8, "town": 6, "owl": 2}
    assert shares(root, shares={number["sea"]: 0.5, number["owl"]: 0.1}) == {"sea": 20, "town": 16, "owl": 4}
    assert shares(root, by="label", shares={"sea": 0.25}) == {"sea": 8, "town": 20, "owl": 4}
    with pytest.raises(UserError, match="names 'cat', of which there is no clip; groups: owl, sea, town"):
        shares(root, by="label", shares={"cat": 0.25})


def test_what_is_a_sample_stays_one_as_far_as_shares_allow(root: TemporaryRoot) -> None:
    def samples() -> set[str]:
        config = TrainingDatasetConfig.model_validate({"balance": {}})
        rows = TRAINING_DATASET.joined(write_dataset(root.tables, config).rows).to_pylist()
        return {row["clip_id"] for row in rows if row["status"] == "ok"}

    clusters(root)
    before = samples()
    put(root, "b", {"town": 40}, seed=1)  # and more of the sea can be taken
    clusters(root)
    after = samples()
    assert {clip for clip in before if not clip.startswith("town")} <= after
    assert len(before - after) < 10 < len(after - before)


def test_balance_needs_groups(root: TemporaryRoot) -> None:
    for balance, said in (({}, "set concept_clusters.clusters"), ({"by": "label"}, "set clip_labels.enabled")):
        with pytest.raises(ValidationError, match=said):
            CurationConfig.model_validate({"training_dataset": {"balance": balance}})
    validated({"training_dataset": {"balance": {}}, "concept_clusters": {"clusters": 3}})
    with pytest.raises(UserError, match=r"which has no rows: set concept_clusters\.clusters and materialize it"):
        write_dataset(root.tables, TrainingDatasetConfig.model_validate({"balance": {}}))


def test_where_no_clip_is_left_the_set_is_empty_and_needs_no_groups(root: TemporaryRoot) -> None:
    config = TrainingDatasetConfig.model_validate({"balance": {"shares": {"3": 0.5}}})
    root.store(DUPLICATE_GROUPS, "a", [])
    assert clusters(root) == {}
    assert write_dataset(root.tables, config).samples == 0


def test_dagster_makes_both_and_shows_clusters_and_shares(root: TemporaryRoot) -> None:
    settings = {"concept_clusters": {"clusters": 3}, "training_dataset": {"balance": {"samples": 16}}}
    with dg.DagsterInstance.ephemeral() as instance:
        register_shards(instance, ["a"])
        given = {"root": str(root.folder), **settings}
        done = list(run_assets(instance, selected("concept_clusters,training_dataset"), ["a"], given))
        assert [each.error for each in done] == [None]
        found = {
            name: instance.fetch_materializations(dg.AssetKey(name), limit=1).records[0].asset_materialization
            for name in ("concept_clusters", "training_dataset")
        }
    assert found and found["concept_clusters"] and found["training_dataset"]
    facts = {name: value.value for name, value in found["concept_clusters"].metadata.items()}
    assert (facts["clusters"], facts["clips"], facts["largest"], facts["smallest"]) == (3, 64, 40, 4)
    balance = str(found["training_dataset"].metadata["balance"].value)
    assert "| 40 | 62.5% | 8 | 50.0% |" in balance and "| 4 | 6.2% | 2 | 12.5% |" in balance
    inputs = GATHER.inputs(root.tables, ALL_SHARDS)
    assert set(inputs) == {"clip_embeddings", "clip_selection", "duplicate_groups"}


def test_the_report_shows_typical_and_untypical_clips_and_the_shares_before_and_after(root: TemporaryRoot) -> None:
    empty = gather(root.tables, CurationConfig(), None, ())
    assert empty.concepts is None and empty.balance == () and "concept_clusters.clusters" in render(empty)
    found = clusters(root)
    config = TrainingDatasetConfig.model_validate({"balance": {"samples": 16}})
    root.tables.replace(TRAINING_DATASET, write_dataset(root.tables, config).rows)
    report = gather(root.tables, CurationConfig(), None, ())
    assert report.concepts is not None and (report.concepts.total, report.concepts.clips) == (3, 64)
    sea = report.concepts.biggest[0]
    assert (sea.size, len(sea.nearest), len(sea.farthest)) == (40, 6, 3)
    distances = [found[clip.clip_id]["distance"] for clip in (*sea.nearest, *sea.farthest)]
    own = sorted(row["distance"] for clip, row in found.items() if clip.startswith("sea"))
    assert distances == own[:6] + own[-3:]
    assert [(each.before, each.after) for each in report.balance] == [(40, 8), (20, 6), (4, 2)]
    assert "16 of 64 clips" in render(report)

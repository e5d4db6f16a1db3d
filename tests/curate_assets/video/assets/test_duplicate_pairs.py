"""`duplicate_pairs`: the pairs and cosines that numpy finds among the vectors of all shards, whatever the order."""

import numpy as np

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.duplicate_pairs import measure_pairs


def test_pairs_are_those_above_the_floor_in_every_order_of_shards(copy) -> None:
    config = CurationConfig.model_validate({"duplicate_pairs": {"floor_similarity": 0.6}}).duplicate_pairs
    selected = {
        (row["shard"], row["clip_id"])
        for row in copy.tables.read(CLIP_SELECTION, where="status = 'ok'").to_pylist()
        if row["selected"]
    }
    rows = [row for row in copy.tables.read(CLIP_EMBEDDINGS).to_pylist() if (row["shard"], row["clip_id"]) in selected]
    rows.sort(key=lambda row: (row["clip_id"], row["shard"]))
    vectors = np.array([row["vector"] for row in rows], np.float64)
    cosines = vectors @ vectors.T
    expected = {
        ((rows[i]["shard"], rows[i]["clip_id"]), (rows[j]["shard"], rows[j]["clip_id"])): cosines[i, j]
        for i, j in zip(*np.triu_indices(len(rows), 1), strict=True)
        if cosines[i, j] >= 0.6
    }
    assert expected
    for shards in (copy.shards, copy.shards[::-1]):
        found = {}
        for shard in shards:
            for row in measure_pairs(copy.tables, shard, config).to_pylist():
                assert shard in (row["shard_a"], row["shard_b"])
                found[(row["shard_a"], row["clip_a"]), (row["shard_b"], row["clip_b"])] = row["similarity"]
        assert found.keys() == expected.keys()
        assert max(abs(found[pair] - expected[pair]) for pair in found) < 1e-5

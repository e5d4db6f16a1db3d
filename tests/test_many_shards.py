"""The root of many shards that benchmarks look at: a plan finds of it what it would find of a real one."""

import sys
from pathlib import Path

import pytest

from curate_assets.graphs import GRAPH
from curate_assets.operations.outlook import outlook
from curate_assets.settings.presets import ShardSettings
from curate_resources.sources.manifests import Manifests
from curate_resources.storage.root import Storage


def test_made_up_rows_hold_but_for_those_that_are_missing_or_of_another_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    from many_shards import make_root

    storage = Storage(str(tmp_path))
    make_root(storage.root, 20, 3)
    shards = Manifests(storage).shards()
    ahead = outlook(ShardSettings.read(storage), [asset.name for asset in GRAPH.assets], shards)
    absent = {asset.name: len(asset.absent) for asset in ahead.assets if asset.absent}
    assert absent == {
        "concept_clusters": 1,
        "captions": 2,
        "clip_files": 2,
        "training_dataset": 1,
        "dataset_report": 1,
    }
    assert {asset.name: len(asset.stale) for asset in ahead.assets if asset.stale} == {"clip_selection": 1}
    assert sum(asset.reuse for asset in ahead.assets) > 20 * len(GRAPH.tables)
    sys.modules.pop("many_shards")

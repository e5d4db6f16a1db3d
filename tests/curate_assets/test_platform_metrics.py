"""What `curate metrics` says of a root."""

import pyarrow as pa
import pytest

from curate_assets.operations.platform_metrics import (
    LAST_MADE,
    MADE_ITEMS,
    MATERIALIZATIONS,
    SHARDS,
    STORED_ROWS,
    PlatformMetrics,
    platform_samples,
)
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO
from curate_resources.pipeline.commit import committed, remember
from curate_resources.sources.manifests import Manifests
from curate_resources.tables.lance_tables import Tables


def rows(statuses: list[str]) -> list[dict]:
    error = {"stage": "probe", "type": "MediaError", "message": "no video", "attempt": 1}
    return [
        {"uri": f"{index}.mp4", "status": status, "error": error if status == "failed" else None, "fingerprint": "0"}
        for index, status in enumerate(statuses)
    ]


@pytest.fixture
def root(new_root):
    """Of two shards one was probed, and one of its three files failed; nothing else was made."""
    root = new_root()
    table = VIDEO.tables["source_videos"]
    probed = pa.Table.from_pylist(
        [{**row, "shard": "a-000000"} for row in rows(["ok", "ok", "failed"])], schema=table.rows_schema
    )
    version = Tables(root.storage).swap(table, "a-000000", probed)
    done = committed(table, "a-000000", version, probed, computed=3, reused=0, seconds=2.0)
    for _ in range(2):
        remember(root.storage, table, validated({}), done, probed, {})
    return root


def test_shards_are_counted_by_state_and_commits_by_the_history(root):
    found = platform_samples(root.storage)
    states = {state: found[SHARDS, ("source_videos", state)] for state in ("made", "failed", "empty", "missing")}
    assert states == {"made": 0, "failed": 1, "empty": 0, "missing": 1}
    assert found[SHARDS, ("clips", "missing")] == 2 == len(Manifests(root.storage).shards())
    assert found[STORED_ROWS, ("source_videos", "ok")] == 2 and found[STORED_ROWS, ("source_videos", "failed")] == 1
    assert found[MATERIALIZATIONS, ("source_videos",)] == 2
    assert found[MADE_ITEMS, ("source_videos", "computed")] == 6
    assert found[LAST_MADE, ("source_videos",)] > 1.7e9


def test_a_root_that_cannot_be_read_for_a_while_is_told_as_it_was(root, monkeypatch, caplog):
    metrics = PlatformMetrics(root.storage, every_seconds=0)
    before = {sample.name: sample.value for family in metrics.collect() for sample in family.samples}
    monkeypatch.setattr(
        "curate_assets.operations.platform_metrics.platform_samples",
        lambda _: (_ for _ in ()).throw(OSError("the store is away")),
    )
    after = {sample.name: sample.value for family in metrics.collect() for sample in family.samples}
    assert after == before and "the store is away" in caplog.text
    with pytest.raises(OSError):
        list(PlatformMetrics(root.storage).collect())

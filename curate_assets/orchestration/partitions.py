"""The one partitions definition of all per-shard assets; its keys are the shards of the manifests."""

import dagster as dg

SHARDS = dg.DynamicPartitionsDefinition(name="shards")

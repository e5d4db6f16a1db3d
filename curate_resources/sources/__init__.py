"""Which files there are: declared sources, listings, manifests of shards, discovery and events."""

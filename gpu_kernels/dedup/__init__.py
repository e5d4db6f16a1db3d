"""Near-duplicates: neighbours and groups."""

"""Which clips show the same: what the assets `duplicate_pairs` and `duplicate_groups` are made of."""

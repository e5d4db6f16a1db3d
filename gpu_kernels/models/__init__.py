"""Model files: where weights come from, and what pins them."""

"""A plan and its units: what is reused, what is computed, how it is committed. No engine."""

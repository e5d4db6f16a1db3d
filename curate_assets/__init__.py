"""The asset graph: what exists, what it depends on, its config and checks."""

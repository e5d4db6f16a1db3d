"""The assets of the video graph: one module each, by its name."""

"""Settings of a graph: files, presets, environment, and the catalogue of all of them."""

"""Two captions of the same windows, compared by a judge: `curate compare captions`."""

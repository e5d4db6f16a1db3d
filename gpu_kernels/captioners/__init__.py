"""Text for clips, from vision-language models: one module per backend."""

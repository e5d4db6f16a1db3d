"""Labels: what people say of clips, kept under the root, and the thresholds that follow from it."""

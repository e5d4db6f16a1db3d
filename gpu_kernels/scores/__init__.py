"""Measurements of clips, and the thresholds on them."""

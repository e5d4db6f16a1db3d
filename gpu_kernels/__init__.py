"""Compute: frames in, numbers out. Nothing here knows of Dagster, Ray or storage."""

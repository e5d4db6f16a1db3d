"""Clip files: copied streams, encoded pictures, sound, muxing."""

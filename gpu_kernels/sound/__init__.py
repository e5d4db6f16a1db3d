"""The sound of a video: decoded beside its pictures, and measured in tenths of a second."""

"""One decode of a video, and everything that is sampled on the way."""

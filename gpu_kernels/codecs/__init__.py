"""Bitstreams of H.264, HEVC and VP9, as far as cutting without decoding needs them."""

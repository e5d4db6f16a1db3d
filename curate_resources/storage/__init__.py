"""Bytes: files under a root, buckets, the web, scratch copies, ZIPs."""

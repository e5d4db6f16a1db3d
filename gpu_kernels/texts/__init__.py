"""Texts as vectors: what is said in other words lies near."""

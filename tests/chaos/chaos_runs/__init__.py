"""Runs that are disturbed once, at a moment that a seed chooses, and run again: what is left must be as if nothing had
happened."""

"""Rows: Lance tables, commits to them, their history and upkeep."""

"""Assets and graphs as values: what an asset declares, and what follows from it."""

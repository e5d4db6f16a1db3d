"""Shot transitions, and splitting between them."""

"""Finding text in pictures."""

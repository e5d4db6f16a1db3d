"""What a plan would do, without doing it."""

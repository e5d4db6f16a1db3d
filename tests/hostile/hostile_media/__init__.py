"""Hostile media by seed, traps that show what is opened, and the trial: all of it through the product."""

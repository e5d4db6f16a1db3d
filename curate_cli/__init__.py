"""The client: commands that a person runs, and the small library they can be tried on."""

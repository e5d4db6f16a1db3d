"""This machine: private folders, state that outlives a run, process sessions."""

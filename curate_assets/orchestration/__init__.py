"""Dagster, for any graph: assets, checks, jobs, sensors, runs."""

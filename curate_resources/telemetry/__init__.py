"""What becomes of a run's events and logs beside its results: metrics, traces, JSON logs, profiles. None is needed."""

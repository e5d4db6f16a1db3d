"""Dagster's daemon, looking for backfills every two seconds: `-m curate_assets.orchestration.daemon run -w WORKSPACE`.

By itself it looks every thirty, once to begin a backfill, once for each layer of its assets and once to see its end:
minutes for one that has little to do. What a look costs is a query of one small table.
"""

from dagster._daemon import controller
from dagster._daemon.cli import main

controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2  # Dagster has no setting for it

if __name__ == "__main__":
    main()

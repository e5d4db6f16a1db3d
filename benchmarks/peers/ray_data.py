"""The same stages on plain Ray Data: one pool of one or two actors for each; rows are videos, then clips."""

import argparse
from pathlib import Path

import operations
import ray


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    ray.init(include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    videos = operations.records(arguments.footage, arguments.output)
    data = ray.data.from_items(videos, override_num_blocks=len(videos))
    for operation, cpus in operations.STAGES:
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=2)
        data = data.flat_map(operation, num_cpus=cpus, compute=pool)
    print(sum(1 for _ in data.iter_rows()), "clips")


if __name__ == "__main__":
    main()

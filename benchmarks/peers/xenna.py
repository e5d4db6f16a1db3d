"""Stages shaped like Cosmos-Curate's on cosmos-xenna: a task is a video with its clips; Xenna sizes the pools."""

import argparse
from pathlib import Path

import operations
from cosmos_xenna.pipelines import v1 as xenna


class XennaStage(xenna.Stage):
    """One stage of `operations.STAGES`."""

    def __init__(self, operation: type, cpus: float) -> None:
        self._open, self._cpus = operation, cpus

    @property
    def required_resources(self) -> xenna.Resources:
        """What a worker reserves."""
        return xenna.Resources(cpus=self._cpus)

    def setup(self, worker_metadata: xenna.WorkerMetadata) -> None:
        """Load the model, if there is one."""
        self._run = self._open()

    def process_data(self, tasks: list[list[operations.Record]]) -> list[list[operations.Record]]:
        """A batch of videos."""
        return [[made for record in task for made in self._run(record)] for task in tasks]


def stage(operation: type, cpus: float) -> xenna.Stage:
    """A stage of a class of its own, since Xenna names pools after classes."""
    return type(operation.__name__, (XennaStage,), {"__module__": __name__})(operation, cpus)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("footage", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    spec = xenna.PipelineSpec(
        input_data=[[record] for record in operations.records(arguments.footage, arguments.output)],
        stages=[xenna.StageSpec(stage(*each)) for each in operations.STAGES],
        config=xenna.PipelineConfig(
            execution_mode=xenna.ExecutionMode.STREAMING,
            return_last_stage_outputs=True,
            logging_interval_s=30,
            cpu_allocation_percentage=1.0,
        ),
    )
    videos = xenna.run_pipeline(spec)
    print(len(videos), "videos")


if __name__ == "__main__":
    main()

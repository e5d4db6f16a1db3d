"""The code location by the name that all deployments give it, so that the UI can repeat what `curate` ran."""

import sys
from pathlib import Path

from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION = "curate"
MODULE = "curate_assets.definitions"

WORKSPACE = Path(__file__).with_name("workspace.yaml")
"""What Dagster's commands load."""


def job_origin(job: str) -> RemoteJobOrigin:
    """Where the UI finds a job."""
    target = LoadableTargetOrigin(module_name=MODULE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job)


def job_code(job: str) -> JobPythonOrigin:
    """Where a process finds a job."""
    code = ModuleCodePointer(MODULE, "defs")
    repository = RepositoryPythonOrigin(sys.executable, code, entry_point=DEFAULT_DAGSTER_ENTRY_POINT)
    return JobPythonOrigin(job, repository)

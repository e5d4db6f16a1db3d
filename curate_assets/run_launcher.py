"""Dagster's default launcher of runs, watched: a run whose process or machine is gone is noticed.

The default one starts a run as a child of the code server, which reports the child's death. When the server dies too,
as on a machine that is lost or a daemon that its service manager kills with all it started, nobody does, and the run is
"started" for ever. Named in `dagster.yaml`; launchers for Kubernetes watch by themselves.
"""

import json

import grpc
from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

_ANSWER_SECONDS = 20


class WatchedRunLauncher(DefaultRunLauncher):
    """Answers Dagster's run monitoring, which fails runs that nothing works on any more."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It does."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Ask the code server that a run was started by. Runs of other processes, as of `curate`, are taken to go on.

        A server that is slow to answer has all its runs; one that nothing listens for any more has none.
        """
        server = json.loads(run.tags.get(GRPC_INFO_TAG, "null"))
        if server is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not started by a code server")
        client = DagsterGrpcClient(
            server.get("port"), server.get("socket"), server["host"], server.get("use_ssl", False)
        )
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_ANSWER_SECONDS)
        except DagsterUserCodeUnreachableError as error:
            cause = error.__cause__
            if isinstance(cause, grpc.RpcError) and cause.code() == grpc.StatusCode.UNAVAILABLE:
                return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the code server that it ran in is gone")
            return CheckRunHealthResult(WorkerStatus.RUNNING, str(error))
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its code server does not run it any more")

"""The job server of a Ray cluster. Not Ray Client: the driver of a plan belongs into the cluster."""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from curate_resources.engines.patience import ClusterUnreachable, answered
from curate_resources.launchers.jobs import ClusterRefuses, JobState
from curate_resources.launchers.surroundings import Surroundings

_SUBMISSION_SECONDS = 3
"""How long a job that was asked for may take to be known."""
_STOP_SECONDS = 60
_TRANSIENT = (408, 409, 425, 429)
"""Statuses below 500 that another request may not get."""
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class RayJobServer:
    """A job server, by its URL such as http://head:8265.

    Attributes:
        token_path: file with the cluster's token; None: from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.
        answer_seconds: how long an answer is waited for.
    """

    address: str
    token_path: str | None = None
    answer_seconds: float = 120.0

    def submit(self, job: str, command: str) -> None:
        """Start a job; one that is there already is left alone."""
        client = self._client()
        try:
            self._answer(lambda: client.submit_job(entrypoint=command, submission_id=job, entrypoint_num_cpus=0))
        except (RuntimeError, OSError) as error:
            # Of a cluster that has just started, a server's error says that there is no agent yet.
            if self.state(job) is None:
                raise self._told(error) from error

    def state(self, job: str) -> JobState | None:
        """A job's status; None if it is not known."""
        client = self._client()
        try:
            info = self._answer(lambda: client.get_job_info(job))
        except (RuntimeError, OSError) as error:
            if _status(error) == 404 or "does not exist" in str(error):
                return None
            raise self._told(error) from error
        status = str(getattr(info.status, "value", info.status))
        phases = {"SUCCEEDED": "succeeded", "FAILED": "failed", "STOPPED": "stopped"}
        message = info.message or ""
        waits_for = (message or "its cluster has not started it") if status == "PENDING" else ""
        return JobState(phases.get(status, "running"), message, waits_for)  # pyright: ignore[reportArgumentType]

    def log(self, job: str) -> str:
        """What a job has printed so far; empty where that cannot be had now."""
        try:
            client = self._client()
            return self._answer(lambda: client.get_job_logs(job))
        except (RuntimeError, OSError, ClusterUnreachable):
            return ""

    def surroundings(self, job: str) -> Surroundings | None:
        """Nothing: machines that are there already run its jobs."""
        return None

    def stop(self, job: str) -> None:
        """End a job that runs, or that is still being submitted.

        Raises:
            ClusterUnreachable: it goes on.
        """
        client, started = self._client(), time.monotonic()
        while True:
            # Ray says no, or that there is no such job, until the job's supervisor is there: ask again.
            with suppress(RuntimeError):
                self._answer(lambda: client.stop_job(job))
            state, seconds = self.state(job), time.monotonic() - started
            if (state is None and seconds > _SUBMISSION_SECONDS) or (state is not None and state.phase != "running"):
                return
            if seconds > _STOP_SECONDS:
                raise ClusterUnreachable(f"job {job} was told to stop, and still runs at {self.address}")
            time.sleep(0.2)

    def _answer(self, ask: Callable[[], _Answer]) -> _Answer:
        # Ray's client never gives up on a server that takes a connection and says nothing.
        remedy = "is the head of the cluster alive, and is this its dashboard (cluster.address)?"
        return answered(f"the job server at {self.address}", ask, self.answer_seconds, remedy)

    def _client(self) -> Any:
        if self.token_path is not None:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": self.token_path}
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        try:
            return self._answer(lambda: JobSubmissionClient(self.address))
        except OSError as error:
            if _status(error) is not None:
                raise self._told(error) from error
            raise ClusterUnreachable(
                f"no job server answers at {self.address} ({error}): is this the dashboard of the cluster's head?"
            ) from error
        except (AuthenticationError, RuntimeError) as error:
            raise ClusterRefuses(
                f"the job server at {self.address} refuses: {error}; the token comes from cluster.token_path, "
                "RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
            ) from error

    def _told(self, error: Exception) -> ClusterUnreachable:
        status = _status(error)
        if status is None and isinstance(error, OSError):  # what `requests` raises when a connection breaks
            return ClusterUnreachable(f"the job server at {self.address} is gone: {error}")
        final = status is not None and 400 <= status < 500 and status not in _TRANSIENT
        return (ClusterRefuses if final else ClusterUnreachable)(f"the job server at {self.address} answers: {error}")


def _status(error: Exception) -> int | None:
    """The status of HTTP that Ray's client tells in words, or `requests` as an attribute."""
    response = getattr(error, "response", None)
    if response is not None:
        return response.status_code
    found = re.search(r"status code (\d{3})\b", str(error))
    return None if found is None else int(found[1])

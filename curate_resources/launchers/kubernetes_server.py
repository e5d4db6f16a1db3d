"""Requests to a Kubernetes API server: what it refuses for good, what may pass, and what is only worth a look."""

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from curate_resources.engines.patience import ClusterUnreachable, answered
from curate_resources.launchers.jobs import ClusterRefuses
from curate_resources.storage.retries import with_retries

_TRANSIENT = (408, 409, 425, 429)
"""Statuses below 500 that another request may not get."""
_CONFLICTS = 5
"""How often a request is made that something else got in the way of (409)."""
_GLANCE_SECONDS = 5.0


@dataclass(frozen=True)
class KubernetesServer:
    """The API server of `KUBECONFIG`, else that of the pod this runs in, else that of `~/.kube/config`.

    Attributes:
        retries: how often a request is tried again, more and more slowly, or after the time that the server asks for:
            eight times are over a minute.
        answer_seconds: how long an answer is waited for, with all that.
    """

    retries: int = 8
    answer_seconds: float = 120.0

    def ask(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]] = (),
        body: Any = None,
        briefly: bool = False,
        accept: str = "*/*",
    ) -> bytes:
        """The answer to one request.

        Args:
            briefly: ask once and for some seconds only, for what is good to know.

        Raises:
            KubernetesRefuses: it would be refused again.
            ClusterUnreachable: there is no answer, or none but errors that may pass.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        client = self._hasty_client if briefly else self._client
        seconds = min(_GLANCE_SECONDS, self.answer_seconds) if briefly else self.answer_seconds

        def request() -> bytes:
            return client.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Accept": accept, "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=False,  # else version 36 gives the text of a bytes literal for a log
                _request_timeout=seconds if briefly else None,
            ).data

        def conflict(error: BaseException) -> bool:
            return (
                isinstance(error, ApiException) and error.status == 409 and _status(error).get("reason") == "Conflict"
            )

        def ask() -> bytes:
            return with_retries(request, conflict, 1 if briefly else _CONFLICTS, lambda _: 0.2)

        try:
            # An API server that takes a connection and says nothing is waited for without end by its client.
            return answered("the Kubernetes API server", ask, seconds, "see `kubectl cluster-info`")
        except ApiException as error:
            raise self._told(error) from error
        except HTTPError as error:
            raise ClusterUnreachable(f"no Kubernetes API server answers at {self.host}: {error}") from error

    @property
    def host(self) -> str:
        """Its URL."""
        return self._client.configuration.host

    def _told(self, error: Any) -> ClusterUnreachable:
        status, said = error.status or 0, _status(error)
        message = str(said.get("message") or f"{status or ''} {error.reason}".strip())
        if status == 0:  # its certificate
            return KubernetesRefuses(f"{self.host} cannot be trusted: {message}; see its entry in KUBECONFIG", 0, {})
        if status < 500 and status not in _TRANSIENT:
            return KubernetesRefuses(message, status, said)
        if status == 409:
            return KubernetesConflict(message, status, said)
        return ClusterUnreachable(f"the Kubernetes API server at {self.host} answers {status}: {message}")

    @cached_property
    def _client(self) -> Any:
        # Made once: credentials may come from a program that is run for every new client.
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from urllib3 import Retry

        configuration: Any = Configuration()
        try:
            if "KUBECONFIG" in os.environ or "KUBERNETES_SERVICE_HOST" not in os.environ:
                config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
            else:
                config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException as error:
            raise ClusterUnreachable(f"cluster.mode: kuberay finds no Kubernetes: {error}") from error
        # Every request may be repeated, also to create: the name is the job's. To give up would be to end the job.
        # urllib3 waits as long as Retry-After says.
        configuration.retries = Retry(
            self.retries,
            backoff_factor=0.5,
            backoff_max=20,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
        )
        return ApiClient(configuration)

    @cached_property
    def _hasty_client(self) -> Any:
        from kubernetes.client import ApiClient
        from urllib3 import Retry

        configuration: Any = copy.copy(self._client.configuration)
        configuration.retries = Retry(0, raise_on_status=False)
        return ApiClient(configuration)


class KubernetesRefuses(ClusterRefuses):
    """A request that would be refused again.

    Attributes:
        status: of HTTP; 0 if there was none.
        said: the API server's `Status`, empty where it gave none.
    """

    def __init__(self, message: str, status: int, said: dict[str, Any]) -> None:
        super().__init__(message)
        self.status, self.said = status, said


class KubernetesConflict(ClusterUnreachable):
    """Something else is or was there; the attributes are those of `KubernetesRefuses`."""

    def __init__(self, message: str, status: int, said: dict[str, Any]) -> None:
        super().__init__(message)
        self.status, self.said = status, said


def _status(error: Any) -> dict[str, Any]:
    """What the API server says of a request that it does not grant; a proxy before it says something else."""
    try:
        said = json.loads(error.body)
    except (ValueError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}

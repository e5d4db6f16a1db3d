"""Servers of models: how they are reached, kept connections, and patience."""

import json
import math
import random
import re
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from gpu_kernels.errors import OperatingError, UserError
from gpu_kernels.models.section import ModelSection, Server
from gpu_kernels.strict import Unrepeated

if TYPE_CHECKING:
    import requests

DISCOVERED = "discovered"
"""The model's name in identities where only the server knows it; rows of answers have the real one."""

_RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_SAID = 300
"""Characters of a server's answer that an error repeats."""


class ServerSection(ModelSection, ABC):
    """A server of models."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {"endpoint", "api_key_env", "api_key_file", "timeout_seconds", "attempts", "backoff_seconds", "concurrency"}
    )

    endpoint: str = Field(min_length=1)
    """Base URL of the server, such as `http://127.0.0.1:8000/v1`."""
    api_key_env: str
    """Environment variable with the server's key; without it requests carry none."""
    api_key_file: str | None = None
    """File with the server's key, such as a mounted secret, in place of the variable. It is read for every request."""
    timeout_seconds: float = Field(default=300, gt=0)
    """Longest wait for the server's answer, per attempt; and the longest that a request waits in all for a server that
    says when to come again."""
    attempts: int = Field(default=3, ge=1)
    """Tries per request when the server is busy, failing or silent. One that says when to come again is waited for, and
    that costs no try."""
    backoff_seconds: float = Field(default=1, ge=0)
    """Pause before the second try, doubled before each further one, and up to half as long again by chance."""
    concurrency: int = Field(default=8, ge=1)
    """Requests to the server at a time, from all clips and videos of a run."""

    @field_validator("endpoint")
    @classmethod
    def _is_a_url_without_secrets(cls, endpoint: str) -> str:
        if not re.match(r"https?://[^/]", endpoint):
            raise ValueError("must be a URL that begins with http:// or https://, such as http://127.0.0.1:8000/v1")
        if re.search(r"[?#]|//[^/]*@", endpoint):
            raise Unrepeated(
                "must be a URL without a query, user or password: set api_key_env or api_key_file for a key",
            )
        return endpoint

    @abstractmethod
    def server(self) -> Server:
        """Where it is, and how it takes its key."""

    def servers(self) -> tuple[Server, ...]:
        return (self.server(),)


class Connection:
    """Connections to a server, kept between requests. Used by many threads.

    A server that says when to come again is left alone by all of them until then.
    """

    def __init__(self, config: ServerSection) -> None:
        self._config, self._server = config, config.server()
        self._server.key()
        self._session = _session(config.concurrency)
        self._closed = threading.Event()
        self._not_before = 0.0  # of time.monotonic

    def get(self, path: str) -> Any:
        """The JSON document at a path below the endpoint; as `post`."""
        return self._ask("GET", path, lambda: (None, {}))

    def post(self, path: str, request: Callable[[], tuple[bytes, dict[str, str]]]) -> Any:
        """What the server answers, as JSON.

        Args:
            request: the body, as JSON, and headers; asked for anew before each attempt.

        Raises:
            OperatingError: it does not answer, refuses, or asks to wait longer than `timeout_seconds`. The message has
                no key in it.
        """
        return self._ask("POST", path, request)

    def close(self) -> None:
        """End the connections, and all waiting."""
        self._closed.set()
        self._session.close()

    def _ask(self, method: str, path: str, request: Callable[[], tuple[bytes | None, dict[str, str]]]) -> Any:
        import requests

        waited, attempt = 0.0, 1
        while True:
            waited += self._wait_for_turn(waited)
            try:
                body, headers = request()
                response = self._session.request(
                    method,
                    self._config.endpoint.rstrip("/") + path,
                    data=body,
                    headers={"Content-Type": "application/json"} | headers,
                    auth=self._with_key,
                    timeout=self._config.timeout_seconds,
                    allow_redirects=False,  # a key is for this server only
                )
                if response.status_code // 100 == 2:
                    return self._answered(response)
                failure = self._refused(response)
            except (requests.ConnectionError, requests.Timeout) as error:
                failure, response = self._failed(error), None
            except requests.RequestException as error:
                raise self._failed(error) from None
            if response is not None and response.status_code not in _RETRIED_STATUSES:
                raise failure
            if response is not None and (asked := retry_after(response)) > 0:
                self._not_before = max(self._not_before, time.monotonic() + asked)
                continue
            if attempt == self._config.attempts:
                raise failure
            self._pause(self._config.backoff_seconds * 2 ** (attempt - 1) * random.uniform(1, 1.5))
            attempt += 1

    def _wait_for_turn(self, waited: float) -> float:
        """Seconds that were waited until the server wants to be asked."""
        pause = self._not_before - time.monotonic()
        if pause <= 0:
            return 0
        if waited + pause > self._config.timeout_seconds:
            raise OperatingError(
                f"the server asks to wait {waited + pause:.0f} s, and timeout_seconds is "
                f"{self._config.timeout_seconds:g}: ask again later, or lower concurrency"
            )
        pause += self._config.backoff_seconds * random.uniform(0, 0.5)  # not all of them at one moment
        self._pause(pause)
        return pause

    def _pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise OperatingError("the worker ended before the server answered")

    def _with_key(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        request.headers.update(self._server.headers())
        return request

    def _answered(self, response: "requests.Response") -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._error(f"the server's answer is not JSON: {response.text[:_SAID]}") from None

    def _refused(self, response: "requests.Response") -> OperatingError:
        if response.is_redirect:
            return self._error(
                f"set the endpoint to where the server sends requests on: {response.headers['Location']}"
            )
        return self._error(f"the server answered {response.status_code}: {response.text[:_SAID]}")

    def _failed(self, error: Exception) -> OperatingError:
        return self._error(f"{type(error).__name__}: {error}")

    def _error(self, said: str) -> OperatingError:
        return OperatingError(without_secrets(said, self._server.key()))


def only_model(server: Connection) -> str:
    """The name of the only model that a server has, as it lists them.

    Raises:
        UserError: it has none, or several.
        OperatingError: it does not answer, or with no list of models.
    """
    try:
        listed = [str(each["id"]) for each in server.get("/models")["data"]]
    except (KeyError, TypeError) as wrong:
        said = f"{type(wrong).__name__}: {wrong}"
        raise OperatingError(f"the server gave no list of models ({said}): name one in `model`") from wrong
    if len(listed) != 1:
        raise UserError(f"the server has {len(listed)} models ({', '.join(listed) or 'none'}): say which in `model`")
    return listed[0]


def _session(connections: int) -> "requests.Session":
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=connections))
    return session


def without_secrets(text: str, key: str | None) -> str:
    """A message without a key, and without what stands in a URL's query or before its host."""
    if key:
        text = text.replace(key, "***")
    text = re.sub(r"(\?|&)([^\s=&'\"]+)=[^\s&'\")]+", r"\1\2=***", text)
    return re.sub(r"//[^\s/@]+@", "//***@", text)


def retry_after(response: "requests.Response") -> float:
    """Seconds that a server asks to wait, which it says as a number or as a time by its own clock; 0: it does not."""
    said = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        then, now = _moment(said), _moment(response.headers.get("Date", "")) or datetime.now(UTC)
        seconds = (then - now).total_seconds() if then is not None else 0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0


def _moment(said: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(said)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def as_json(body: dict[str, Any]) -> bytes:
    """A request's body."""
    return json.dumps(body).encode()


def unique(key: str) -> str:
    """A name for one attempt: a server may still be busy with an earlier one."""
    return f"{key}-{uuid.uuid4().hex[:8]}"

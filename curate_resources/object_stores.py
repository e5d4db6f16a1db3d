"""Objects of a bucket by their URI: s3://, gs://, az://, and http(s)://, presigned URLs among them, one file each.

The one module that talks to object stores, through obstore, which is the same Rust code that Lance commits with.
Requests that meet throttling, a server's error or a broken connection are repeated with growing pauses, and what is
read is compared in length; the error at the end names the object and the cause.
"""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from curate_resources.storage_profiles import store_options

if TYPE_CHECKING:
    import requests
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
WEB = ("http", "https")

_RETRIES = 6
_LONGEST_PAUSE = timedelta(seconds=10)
_TIMEOUT = timedelta(seconds=60)
"""Of one request, which is for a few MiB at most; a whole upload has as many requests as it needs."""
_BODY_ATTEMPTS = 4

_T = TypeVar("_T")


class StorageUnavailable(OSError):
    """A store did not do what it was asked, after all attempts; the message names the object and the cause."""


@dataclass(frozen=True)
class StoredObject:
    """An object: its path in the bucket, bytes, time of its last change in seconds since 1970, and what changes with
    its content, which is its ETag where there is one."""

    path: str
    bytes: int
    modified: float
    version: str


def stat(uri: str) -> StoredObject:
    """What is known of an object without reading it.

    Raises:
        FileNotFoundError: it is not there.
        StorageUnavailable: the store does not answer, or refuses.
    """
    if is_web(uri):
        return _web_stat(uri)
    import obstore

    store, path = opened(uri)
    with told(uri):
        return _object(obstore.head(store, path))


def read_range(uri: str, start: int, length: int) -> bytes:
    """The bytes [start, start + length) of an object, all of them.

    Raises:
        FileNotFoundError, StorageUnavailable: as `stat`.
    """
    if length == 0:
        return b""
    read = _web_range if is_web(uri) else _range

    def whole() -> bytes:
        data = read(uri, start, length)
        if len(data) != length:
            raise StorageUnavailable(f"{uri}: {len(data)} bytes came instead of {length}")
        return data

    return _repeated(whole)


def write(uri: str, content: IO[bytes]) -> None:
    """Store what can be read from `content` from where it stands; readers see all of it or nothing.

    A URL is written to by PUT, which a presigned one must be made for.
    """
    if is_web(uri):
        _web_write(uri, content)
        return
    import obstore

    store, path = opened(uri)
    with told(uri):
        obstore.put(store, path, content)


def create(uri: str, content: bytes) -> bool:
    """Store `content` unless there is an object already, which no other writer can make untrue in between; whether it
    was stored."""
    import obstore

    store, path = opened(uri)
    with told(uri):
        try:
            obstore.put(store, path, content, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
    return True


def delete(uri: str) -> None:
    """Remove an object; that it is not there is no error."""
    import obstore

    store, path = opened(uri)
    with told(uri), suppress(FileNotFoundError):
        obstore.delete(store, path)


def listed(uri: str, after: str | None = None) -> Iterator[StoredObject]:
    """The objects below a folder, in the order of their paths, page by page.

    Args:
        after: only those whose path in the bucket comes after this one.
    """
    broken = 0
    while True:
        try:
            for page in _pages(uri, after):
                yield from page
                after, broken = page[-1].path, 0
            return
        except StorageUnavailable:
            broken += 1
            if broken == _BODY_ATTEMPTS:
                raise
            time.sleep(0.5 * 2**broken)


def _pages(uri: str, after: str | None) -> Iterator[list[StoredObject]]:
    import obstore

    store, path = opened(uri)
    with told(uri):
        for page in obstore.list(store, path or None, offset=after, chunk_size=1000):
            if page:
                yield [_object(meta) for meta in page]


def children(uri: str) -> tuple[list[str], list[StoredObject]]:
    """The names of the folders directly below a folder, and the objects directly in it; both sorted."""
    import obstore

    store, path = opened(uri)

    def found() -> Any:
        with told(uri):
            return obstore.list_with_delimiter(store, path or None)

    whole = _repeated(found)
    folders = sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in whole["common_prefixes"])
    return folders, sorted(map(_object, whole["objects"]), key=lambda each: each.path)


def buckets(uri: str) -> list[str]:
    """The names of all buckets that the credentials for a URI may list, sorted.

    Raises:
        StorageUnavailable: they may list none, or the store is none with an S3 API.
    """
    import boto3
    import botocore.exceptions

    if not uri.startswith("s3://"):
        raise StorageUnavailable(f"{uri}: only s3:// lets buckets be listed; name each bucket in a source of its own")
    options = store_options(uri)
    client = boto3.client(
        "s3",
        endpoint_url=options.get("aws_endpoint"),
        region_name=options.get("aws_region") or os.environ.get("AWS_REGION") or "us-east-1",
        aws_access_key_id=options.get("aws_access_key_id"),
        aws_secret_access_key=options.get("aws_secret_access_key"),
        aws_session_token=options.get("aws_session_token"),
    )
    try:
        return sorted(bucket["Name"] for bucket in client.list_buckets()["Buckets"])
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise StorageUnavailable(f"{uri}: its buckets cannot be listed: {error}") from error


def signed(uri: str, seconds: float, method: str = "GET") -> str:
    """A URL with which whoever has it may read (or `PUT`) the object for so long."""
    import obstore

    store, path = opened(uri)
    with told(uri):
        return obstore.sign(store, method, path, timedelta(seconds=seconds))  # pyright: ignore[reportArgumentType, reportCallIssue]


def is_web(uri: str) -> bool:
    """Whether a URI is a URL, which names one file: nothing can be listed there."""
    return uri.startswith(("http://", "https://"))


def opened(uri: str) -> "tuple[ObjectStore, str]":
    """The bucket of a URI, and the path in it."""
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES:
        raise ValueError(f"cannot open {uri}: use a folder, file://, {', '.join(f'{each}://' for each in SCHEMES)}")
    bucket, _, path = rest.partition("/")
    return _store(f"{scheme}://{bucket}", tuple(sorted(store_options(uri).items()))), path


@cache
def _store(bucket: str, options: tuple[tuple[str, str], ...]) -> "ObjectStore":
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    config: dict[str, Any] = dict(options)
    over_http = config.pop("allow_http", "false") == "true"
    try:
        return from_url(  # pyright: ignore[reportCallIssue]
            bucket,
            config=config,  # pyright: ignore[reportArgumentType]
            client_options={"allow_http": over_http, "timeout": _TIMEOUT, "connect_timeout": timedelta(seconds=10)},
            retry_config={
                "max_retries": _RETRIES,
                "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": _LONGEST_PAUSE, "base": 2},
                "retry_timeout": timedelta(minutes=5),
            },
        )
    except (BaseError, ValueError) as error:
        raise StorageUnavailable(f"cannot open {bucket}: {_cause(error)}") from error


@contextmanager
def told(uri: str) -> Generator[None, None, None]:
    """Errors of the store as what callers know, with the object's name and a remedy."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no {uri}") from error
    except exceptions.BaseError as error:
        if "NoSuchBucket" in str(error):
            raise FileNotFoundError(f"there is no bucket for {uri}") from error
        refusals = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
        if isinstance(error, refusals) or "status code: 403" in str(error):  # which is what a refused listing is
            raise StorageUnavailable(
                f"{uri}: access is denied; check the bucket's policy and the profile for it in the storage settings"
            ) from error
        raise StorageUnavailable(f"{uri}: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """The first lines of what the store's client says; the rest is its own innards."""
    return str(error).partition("\n\nDebug source")[0].strip().replace("\n", " ")


def _object(meta: Any) -> StoredObject:
    modified = meta["last_modified"].timestamp()
    return StoredObject(meta["path"], meta["size"], modified, meta["e_tag"] or f"{modified:.6f}")


def _range(uri: str, start: int, length: int) -> bytes:
    import obstore

    store, path = opened(uri)
    with told(uri):
        return bytes(obstore.get_range(store, path, start=start, length=length))


def _repeated(attempt: Callable[[], _T]) -> _T:
    """Once more where a body broke off: the client repeats requests, not what comes after their headers."""
    for pause in (0.5 * 2**number for number in range(_BODY_ATTEMPTS - 1)):
        try:
            return attempt()
        except StorageUnavailable:
            time.sleep(pause)
    return attempt()


# ---------------------------------------------------------------- URLs


def _web_stat(url: str) -> StoredObject:
    # A presigned URL is for one method, so the size is asked for by reading one byte.
    def ask() -> StoredObject:
        with _asked(url, 0, 1) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(total or response.headers.get("Content-Length", "-1")) if total != "*" else -1
            if size < 0:
                raise StorageUnavailable(f"{_shown(url)}: the server does not say how large it is")
            changed = response.headers.get("Last-Modified")
            modified = parsedate_to_datetime(changed).timestamp() if changed else 0.0
            version = response.headers.get("ETag") or changed or str(size)
            return StoredObject(unquote(urlsplit(url).path).lstrip("/"), size, modified, version)

    return _repeated(ask)


def _web_range(url: str, start: int, length: int) -> bytes:
    import requests

    try:
        with _asked(url, start, length) as response:
            if start and response.status_code != 206:
                raise StorageUnavailable(f"{_shown(url)}: the server does not give parts of files")
            data = bytearray()
            for block in response.iter_content(1 << 20):
                data += block
                if len(data) >= length:
                    break
            return bytes(data[:length])
    except requests.RequestException as error:
        raise StorageUnavailable(f"{_shown(url)}: {type(error).__name__} while reading") from error


def _asked(url: str, start: int, length: int) -> "requests.Response":
    import requests

    try:
        response = _session().get(
            url,
            headers={"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"},
            stream=True,
            timeout=(10, _TIMEOUT.total_seconds()),
        )
    except requests.RequestException as error:
        raise StorageUnavailable(f"{_shown(url)}: {type(error).__name__}") from error
    if response.status_code in (404, 410):
        raise FileNotFoundError(f"there is no {_shown(url)}")
    if response.status_code not in (200, 206):
        hint = "; a presigned URL may have expired" if response.status_code == 403 else ""
        raise StorageUnavailable(f"{_shown(url)}: the server answers {response.status_code}{hint}")
    return response


def _web_write(url: str, content: IO[bytes]) -> None:
    import requests

    start = content.tell()

    def put() -> "requests.Response":
        content.seek(start)
        try:
            # Of a file, `requests` says the length, without which stores refuse it, and sends it in small blocks.
            return _session().put(url, data=content, timeout=(10, _TIMEOUT.total_seconds()))
        except requests.RequestException as error:
            raise StorageUnavailable(f"{_shown(url)}: {type(error).__name__} while writing") from error

    answer = _repeated(put)
    if not answer.ok:
        hint = "; a presigned URL may have expired, or be for reading" if answer.status_code == 403 else ""
        raise StorageUnavailable(f"{_shown(url)}: the server answers {answer.status_code}{hint}")


@cache
def _session() -> "requests.Session":
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its warnings show signatures
    session = requests.Session()
    retry = Retry(
        total=_RETRIES,
        backoff_factor=0.2,
        backoff_max=_LONGEST_PAUSE.total_seconds(),
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    for scheme in WEB:
        session.mount(f"{scheme}://", HTTPAdapter(max_retries=retry))
    return session


def _shown(url: str) -> str:
    """A URL without its query, which may hold a signature."""
    return url.partition("?")[0]

"""Objects of a bucket by their URI: s3://, gs://, az://; and files behind URLs (curate_resources.storage.web_files).

The one module that talks to object stores, through obstore, which is the same Rust code that Lance commits with.
Requests that meet throttling, a server's error or a broken connection are repeated with growing pauses, and what is
read is compared in length; the error at the end names the object and the cause.
"""

import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import IO, TYPE_CHECKING, Any

from curate_resources.storage import web_files
from curate_resources.storage.profiles import aws_client, store_options
from curate_resources.storage.s3_listing import s3_pages
from curate_resources.storage.store_errors import cause, store_error
from curate_resources.storage.stored_object import (
    BODY_ATTEMPTS,
    LONGEST_PAUSE,
    RETRIES,
    TIMEOUT,
    SourceChanged,
    StorageRefuses,
    StorageUnavailable,
    StoredObject,
    has_control,
    repeated,
    utf8,
)
from gpu_kernels.errors import NotThere, UserError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
_BUCKET = re.compile(r"[A-Za-z0-9$_.-]+")


def stat(uri: str) -> StoredObject:
    """What is known of an object without reading it.

    Raises:
        NotThere: it is not there.
        StorageUnavailable: the store does not answer, or refuses.
    """
    if web_files.is_web(uri):
        return web_files.stat(uri)
    import obstore

    store, path = opened(uri)
    with told(uri):
        return _object(obstore.head(store, path))


def read_range(uri: str, start: int, length: int, version: str | None = None) -> bytes:
    """The bytes [start, start + length) of an object, all of them; of that version, if one is named.

    Raises:
        NotThere, StorageUnavailable: as `stat`.
        SourceChanged: it has another version by now.
    """
    if length == 0:
        return b""
    read = web_files.read_range if web_files.is_web(uri) else _range

    def whole() -> bytes:
        data = read(uri, start, length, version)
        if len(data) != length:
            raise StorageUnavailable(f"{uri}: {len(data)} bytes came instead of {length}")
        return data

    return repeated(whole)


def write(uri: str, content: IO[bytes]) -> None:
    """Store what can be read from `content` from where it stands; readers see all of it or nothing.

    A URL is written to by PUT, which a presigned one must be made for.
    """
    if web_files.is_web(uri):
        web_files.write(uri, content)
        return
    import obstore

    store, path = opened(uri)
    start = content.tell()

    def whole() -> None:
        content.seek(start)
        with told(uri):
            try:
                obstore.put(store, path, content)
            except FileNotFoundError as error:
                if "NoSuchUpload" in str(error):  # it was completed, and asked to be once more: nobody heard the answer
                    raise StorageUnavailable(f"{uri}: the answer to its upload was lost") from error
                raise

    repeated(whole)


def create(uri: str, content: bytes) -> bool:
    """Store `content` unless there is an object already, as one atomic step; whether it was stored.

    Where the connection breaks nobody knows whether it was: the next attempt then finds its own content there.
    """
    import obstore

    store, path = opened(uri)
    broken = False

    def attempt() -> bool:
        nonlocal broken
        with told(uri):
            try:
                obstore.put(store, path, content, mode="create")
            except obstore.exceptions.AlreadyExistsError:
                return broken and bytes(obstore.get(store, path).bytes()) == content
            except Exception:
                broken = True
                raise
        return True

    return repeated(attempt)


def delete(uri: str) -> None:
    """Remove an object; that it is not there is no error."""
    import obstore

    store, path = opened(uri)
    with told(uri), suppress(FileNotFoundError):
        obstore.delete(store, path)


def listed(
    uri: str, after: str | None = None, unnamed: Callable[[str], None] = lambda key: None
) -> Iterator[StoredObject]:
    """The objects below a folder, in the order of their paths, page by page.

    Args:
        after: only those whose path in the bucket comes after this one.
        unnamed: is told the keys of objects that are left out, because nothing can be done with such a path.

    Raises:
        StorageUnavailable: the store does not answer, or refuses; or is not S3 and has such a key.
    """
    broken, pages = 0, _pages
    while True:
        try:
            for page in pages(uri, after):
                for key, found in page:
                    if found is not None:
                        yield found
                    else:
                        unnamed(key)
                after, broken = page[-1][0], 0
            return
        except _Unnameable as error:
            if not uri.startswith("s3://"):
                raise StorageRefuses(f"{uri}: {error}; rename this object, or name the folders beside it") from error
            pages = _s3_pages
        except StorageUnavailable:
            broken += 1
            if broken == BODY_ATTEMPTS:
                raise
            time.sleep(0.5 * 2**broken)


class _Unnameable(Exception):
    """A listing has a key that the client cannot hold, and ends there."""


_Listed = tuple[str, StoredObject | None]
"""A key, and its object if it can be named."""


def _pages(uri: str, after: str | None) -> Iterator[list[_Listed]]:
    import obstore

    store, path = opened(uri)
    with told(uri), _held_names():
        for page in obstore.list(store, path or None, offset=after, chunk_size=1000):
            if page:
                yield [(meta["path"], _object(meta)) for meta in page]


@contextmanager
def _held_names() -> Generator[None, None, None]:
    from obstore import exceptions

    try:
        yield
    except exceptions.InvalidPathError as error:
        raise _Unnameable(cause(error)) from error
    except exceptions.BaseError as error:
        if "invalid list response" in str(error):  # a control character is not valid XML
            raise _Unnameable(cause(error)) from error
        raise


def _s3_pages(uri: str, after: str | None) -> Iterator[list[_Listed]]:
    bucket, path = parted(uri)
    for page in s3_pages(uri, bucket.partition("://")[2], f"{path.rstrip('/')}/" if path else "", after):
        if found := page.get("Contents"):
            yield [(each["Key"], _s3_object(each)) for each in found]


def _s3_object(meta: dict[str, Any]) -> StoredObject | None:
    path = meta["Key"].removesuffix("/")
    if unnameable(path):
        return None
    return StoredObject(path, meta["Size"], meta["LastModified"].timestamp(), meta["ETag"])


def children(uri: str) -> tuple[list[str], list[StoredObject]]:
    """The names of the folders directly below a folder, and the objects directly in it; both sorted. What cannot be
    named is left out."""
    import obstore

    store, path = opened(uri)

    def found() -> Any:
        with told(uri), _held_names():
            return obstore.list_with_delimiter(store, path or None)

    try:
        whole = repeated(found)
        prefixes, objects = whole["common_prefixes"], list(map(_object, whole["objects"]))
    except _Unnameable as error:
        if not uri.startswith("s3://"):
            raise StorageRefuses(f"{uri}: {error}; rename this object") from error
        bucket = parted(uri)[0].partition("://")[2]
        pages = list(s3_pages(uri, bucket, f"{path.rstrip('/')}/" if path else "", None, "/"))
        prefixes = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        objects = [_s3_object(each) for page in pages for each in page.get("Contents", [])]
    names = [prefix.rstrip("/") for prefix in prefixes if not unnameable(prefix.removesuffix("/"))]
    folders = sorted(name.rpartition("/")[2] for name in names)
    return folders, sorted((each for each in objects if each is not None), key=lambda each: each.path)


def buckets(uri: str) -> list[str]:
    """The names of all buckets that the credentials for a URI may list, sorted.

    Raises:
        StorageUnavailable: they may list none, or the store is none with an S3 API.
    """
    import botocore.exceptions

    if not uri.startswith("s3://"):
        raise StorageRefuses(f"{uri}: only s3:// lets buckets be listed; name each bucket in a source of its own")
    client = aws_client("s3", uri, store_options(uri).get("aws_endpoint"))
    try:
        return sorted(bucket["Name"] for bucket in client.list_buckets()["Buckets"])
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise store_error(uri, error) from error


def signed(uri: str, seconds: float, method: str = "GET") -> str:
    """A URL with which whoever has it may read (or `PUT`) the object for so long."""
    import obstore

    store, path = opened(uri)
    with told(uri):
        return obstore.sign(store, method, path, timedelta(seconds=seconds))  # pyright: ignore[reportArgumentType, reportCallIssue]


def opened(uri: str) -> "tuple[ObjectStore, str]":
    """The bucket of a URI, and the path in it.

    Raises:
        UserError: as `parted`.
    """
    bucket, path = parted(uri)
    return _store(bucket, tuple(sorted(store_options(uri).items()))), path


def parted(uri: str) -> tuple[str, str]:
    """The URI of a bucket, and the path in it. `#`, `?` and `%` are characters of names.

    Raises:
        UserError: it is not a URI of a bucket, or nothing can have such a path.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES:
        raise UserError(f"cannot open {uri}: use a folder, file://, {', '.join(f'{each}://' for each in SCHEMES)}")
    bucket, _, path = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"cannot open {uri!r}: {bucket!r} is no name of a bucket")
    if why := unnameable(path.removesuffix("/")):
        raise UserError(f"cannot open {uri!r}: {why}")
    return f"{scheme}://{bucket}", path


def unnameable(path: str) -> str | None:
    """Why neither files nor tables can have a path in a bucket, though stores allow it; None: they can."""
    if path and not {"", ".", ".."}.isdisjoint(path.split("/")):
        return "its path has a part that is empty, `.` or `..`"
    if has_control(path):
        return "its path has a control character"
    return None if utf8(path) else "its path is not UTF-8"


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
            client_options={"allow_http": over_http, "timeout": TIMEOUT, "connect_timeout": timedelta(seconds=10)},
            retry_config={
                "max_retries": RETRIES,
                "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": LONGEST_PAUSE, "base": 2},
                "retry_timeout": timedelta(minutes=5),
            },
        )
    except (BaseError, ValueError) as error:
        raise StorageRefuses(f"cannot open {bucket}: {cause(error)}") from error


@contextmanager
def told(uri: str) -> Generator[None, None, None]:
    """Errors of the store as what callers know, with the object's name and a remedy."""
    from obstore import exceptions

    try:
        yield
    except (FileNotFoundError, exceptions.BaseError) as error:
        if "NoSuchBucket" in str(error):
            raise NotThere(f"there is no bucket {parted(uri)[0]}: correct its name, or make it") from error
        if isinstance(error, FileNotFoundError):
            raise NotThere(f"there is no {uri}") from error
        refusals = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
        raise store_error(uri, error, denied=isinstance(error, refusals)) from error


def _object(meta: Any) -> StoredObject:
    modified = meta["last_modified"].timestamp()
    return StoredObject(meta["path"], meta["size"], modified, meta["e_tag"] or f"{modified:.6f}")


def _range(uri: str, start: int, length: int, version: str | None) -> bytes:
    import obstore

    store, path = opened(uri)
    with told(uri):
        answer = obstore.get(store, path, options={"range": (start, start + length)})
        if version is not None and _object(answer.meta).version != version:
            raise SourceChanged.while_read(uri)
        return bytes(answer.bytes())

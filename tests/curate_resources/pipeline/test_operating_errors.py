"""Errors of disks and stores, told from bugs."""

import errno
import os
import sqlite3

import pytest

from curate_resources.launchers.transient_errors import passes
from curate_resources.pipeline.operating_errors import operating_error
from curate_resources.storage.stored_object import StorageRefuses
from gpu_kernels.errors import OperatingError

ROOT = "/data/root"


def of_system(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))


def caused(outer: Exception, cause: BaseException) -> Exception:
    outer.__cause__ = cause
    return outer


PUT = "LanceError(IO): single PUT of root/tables/a.lance failed: Error performing PUT http://x/b/root/tables/a.lance"


@pytest.mark.parametrize(
    ("said", "told", "transient"),
    [
        ("403 Forbidden: <?xml?>\n<Error><Code>AccessDenied</Code>", "access is denied; check the bucket", False),
        ("403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "does not know these credentials; correct", False),
        ("400 Bad Request: <Code>ExpiredToken</Code>", "the credentials have expired; renew those", False),
        (
            "400 Bad Request: <Code>AuthorizationHeaderMalformed</Code> region 'a' is wrong; expecting 'eu-central-1'",
            "the bucket is in another region, eu-central-1; set the region",
            False,
        ),
        ("507 Insufficient Storage: <Code>InsufficientStorage</Code>", "the store is full; free space", False),
        ("503 Service Unavailable: <Code>SlowDown</Code>", "the store is overloaded; try again later", True),
        ("500 Internal Server Error, /x/store.rs:1:2", "500 Internal Server Error", True),
    ],
)
def test_what_a_store_says_is_one_sentence_whoever_hears_it(said, told, transient):
    """Lance's errors of a bucket were shown as they came, and asked for again though they are refusals."""
    error, root = OSError(f"{PUT} - Server returned non-2xx status code: {said}"), "s3://b/root"
    sentence = str(operating_error(error, root))
    assert sentence.startswith(f"{root}: ") and told in sentence and "\n" not in sentence and ".rs" not in sentence
    assert passes(error, root) is transient


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (of_system(errno.EACCES, f"{ROOT}/manifests"), f"{ROOT}/manifests: permission is denied"),
        (of_system(errno.EROFS, ROOT), "its file system is read-only"),
        (of_system(errno.ENOSPC), f"{ROOT}: the disk is full; free space"),
        (of_system(errno.EDQUOT, f"{ROOT}/media/a.{'0' * 32}.partial"), f"{ROOT}/media/a: this user's disk quota"),
        (of_system(errno.ESTALE, f"{ROOT}/tables"), "the network file system has lost it; mount it again"),
        (of_system(errno.ENOENT, "/data"), "/data is not there and cannot be made"),
        (of_system(errno.ECONNREFUSED), "cannot be reached: connection refused"),
        (of_system(errno.EMFILE), "too many files are open"),
        (MemoryError(), "not enough memory"),
        (
            OSError(f'LanceError(IO): Permission denied (os error 13) at path "{ROOT}/tables/x", /home/x/store.rs:1:2'),
            f"{ROOT}/tables/x: permission is denied",
        ),
        (
            ValueError(f"LanceError(IO): Unable to walk dir: IO error for operation on {ROOT}/a: No (os error 20)"),
            "a part of this path is a file",
        ),
        (
            OSError("LanceError(IO): Generic S3 error: 503, /home/x/store.rs:1:2"),
            "LanceError(IO): Generic S3 error: 503",
        ),
        (
            caused(RuntimeError("(Background on this error)"), sqlite3.OperationalError("database or disk is full")),
            "Dagster's database in /home: the disk is full",
        ),
        (caused(KeyError("x"), StorageRefuses("s3://a: access is denied")), "s3://a: access is denied"),
    ],
)
def test_what_the_surroundings_deny_is_one_sentence(error, told, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "/home")
    found = operating_error(error, ROOT)
    assert isinstance(found, OperatingError)
    assert told in str(found)
    assert "\n" not in str(found) and ".rs:" not in str(found)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("not enough values to unpack"),
        KeyError("x"),
        of_system(errno.ENOENT, "/elsewhere/x"),
        of_system(errno.EBADF),
        sqlite3.OperationalError("no such table: runs"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
)
def test_whatever_else_is_a_bug(error):
    assert operating_error(error, ROOT) is None

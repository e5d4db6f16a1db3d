"""What stores and servers have in common: what is known of an object, and patience with them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from curate_resources.storage.retries import with_retries
from gpu_kernels.errors import OperatingError

RETRIES = 6
LONGEST_PAUSE = timedelta(seconds=10)
TIMEOUT = timedelta(seconds=60)
"""Of one request, which is for a few MiB at most; a whole upload has as many requests as it needs."""

BODY_ATTEMPTS = 4

_T = TypeVar("_T")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class StorageUnavailable(OperatingError, OSError):
    """A store did not do what it was asked, after all attempts; the message names the object and the cause."""


class StorageRefuses(StorageUnavailable):
    """It answers, and asking again would not help."""


class SourceChanged(OperatingError, OSError):
    """A file no longer has the content that it had when it was hashed, or when reading it began."""

    @classmethod
    def while_read(cls, shown: str) -> "SourceChanged":
        """Some of it was read already."""
        return cls(f"{shown} changed while it was read: `curate add` it again and materialize")

    @classmethod
    def since_probed(cls, shown: str) -> "SourceChanged":
        """All that is known of it was made from another content."""
        return cls(
            f"{shown} changed since it was probed: `curate add` it again, or wait for the audit of its source, and "
            "materialize; or put the old file back"
        )


@dataclass(frozen=True)
class StoredObject:
    """An object: its path in the bucket, bytes, time of its last change in seconds since 1970, and what changes with
    its content, which is its ETag where there is one. `pinned`: no two contents can have the same version; of some
    servers they can."""

    path: str
    bytes: int
    modified: float
    version: str
    pinned: bool = True


def repeated(attempt: Callable[[], _T]) -> _T:
    """Once more where a body broke off: the client repeats requests, not what comes after their headers."""
    return with_retries(attempt, _may_pass, BODY_ATTEMPTS, lambda number: 0.25 * 2**number)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, StorageUnavailable) and not isinstance(error, StorageRefuses)


def utf8(path: str) -> bool:
    """Whether a path is text; a disk's may be any bytes, and manifests and tables cannot hold such."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def has_control(path: str) -> bool:
    """Whether a path has a control character, as the paths of tables and objects cannot."""
    return _CONTROL.search(path) is not None

"""What stores say when they refuse or fail, as one sentence with a remedy, whichever client's error it is read from."""

import re

from curate_resources.storage.stored_object import StorageRefuses, StorageUnavailable

_PROFILE = "the profile for it in the storage settings"
_KEYS = f"correct the keys in {_PROFILE}, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_DENIED = "access is denied", f"check the bucket's policy and {_PROFILE}"

_REFUSALS: tuple[tuple[str, str, str], ...] = (
    ("InvalidAccessKeyId|SignatureDoesNotMatch|InvalidSecurity", "the store does not know these credentials", _KEYS),
    ("ExpiredToken|InvalidToken|TokenRefreshRequired", "the credentials have expired", f"renew those of {_PROFILE}"),
    ("RequestTimeTooSkewed", "this machine's clock is wrong", "set it"),
    (
        "AuthorizationHeaderMalformed|PermanentRedirect|incorrectly configured region|IllegalLocationConstraint",
        "the bucket is in another region",
        f"set the region in {_PROFILE}, or AWS_REGION",
    ),
    ("InsufficientStorage|QuotaExceeded|XMinioStorageFull", "the store is full", "free space, or raise its quota"),
    (
        r"AccessDenied|AllAccessDisabled|status code: 40[13]\b|lacked the necessary privileges|"
        "lacked valid authentication",
        *_DENIED,
    ),
)
_FAILURES: tuple[tuple[str, str, str], ...] = (
    (r"SlowDown|status code: (429|503)\b", "the store is overloaded", "try again later, or with fewer workers"),
    (
        "error sending request|Could not connect|Connect timeout",
        "the store cannot be reached",
        f"check the network and the endpoint in {_PROFILE}, or AWS_ENDPOINT_URL",
    ),
)
"""By patterns of what clients pass on: what is wrong, and what to do."""

_INNARDS = re.compile(r"\n\nDebug source|, /\S+\.rs:\d+")
_REGION = re.compile(r"expecting '([\w-]+)'")


def refusal(text: str) -> str | None:
    """What a store refuses, however often it is asked, and the remedy; None: it does not."""
    for pattern, what, remedy in _REFUSALS:
        if re.search(pattern, text):
            region = _REGION.search(text) if "region" in what else None
            return f"{what}{f', {region[1]}' if region else ''}; {remedy}"
    return None


def store_error(uri: str, error: BaseException, denied: bool = False) -> StorageUnavailable:
    """An error of a store's client, as it is told.

    Args:
        uri: of the object or folder that it is about.
        denied: it is known to be a refusal, whatever its text says.
    """
    text = str(error)
    said = refusal(text) or ("; ".join(_DENIED) if denied else None)
    if said is not None:
        return StorageRefuses(f"{uri}: {said}")
    for pattern, what, remedy in _FAILURES:
        if re.search(pattern, text):
            return StorageUnavailable(f"{uri}: {what}; {remedy}")
    return StorageUnavailable(f"{uri}: {cause(error)}")


def cause(error: BaseException) -> str:
    """The first lines of what the store's client says; the rest is its own innards."""
    return _INNARDS.split(str(error))[0].strip().replace("\n", " ")

"""Files behind http(s):// URLs, presigned ones among them: read in ranges, written by PUT.

Errors and logs show a URL without its query, which may hold a signature.
"""

import logging
from email.utils import parsedate_to_datetime
from functools import cache
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from curate_resources.storage.stored_object import (
    LONGEST_PAUSE,
    RETRIES,
    TIMEOUT,
    SourceChanged,
    StorageRefuses,
    StorageUnavailable,
    StoredObject,
    repeated,
)
from gpu_kernels.errors import NotThere, UserError

if TYPE_CHECKING:
    import requests

_SCHEMES = ("http", "https")


def is_web(uri: str) -> bool:
    """Whether a URI is a URL, of which nothing can be listed."""
    return uri.startswith(("http://", "https://"))


def stat(url: str) -> StoredObject:
    """What is known of a file without reading it.

    Raises:
        NotThere: it is not there.
        StorageUnavailable: the server does not answer, refuses, or does not say how large it is.
    """

    # A presigned URL is for one method, so the size is asked for by reading one byte.
    def ask() -> StoredObject:
        with _asked(url, 0, 1) as response:
            return _about(url, response)

    return repeated(ask)


def _about(url: str, response: "requests.Response") -> StoredObject:
    total = response.headers.get("Content-Range", "").rpartition("/")[2] or response.headers.get("Content-Length", "")
    if not (total.isascii() and total.isdigit()):
        raise StorageRefuses(f"{shown(url)}: the server does not say how large it is; download it, and add the file")
    size = int(total)
    changed, tag = response.headers.get("Last-Modified"), response.headers.get("ETag", "")
    modified, now = _time(changed), _time(response.headers.get("Date"))
    # Of a file that changed within the second, a further change may not show in the time.
    settled = modified > 0 and now > modified + 1
    pinned = not tag.startswith("W/") if tag else settled
    return StoredObject(unquote(urlsplit(url).path).lstrip("/"), size, modified, tag or changed or str(size), pinned)


def _time(header: str | None) -> float:
    """Seconds since 1970; 0 where the server says nothing that can be understood."""
    try:
        return parsedate_to_datetime(header).timestamp() if header else 0.0
    except (ValueError, OverflowError):
        return 0.0


def read_range(url: str, start: int, length: int, version: str | None = None) -> bytes:
    """The bytes [start, start + length) of a file, as many as came; of that version, if one is named.

    Raises:
        NotThere, StorageUnavailable: as `stat`.
        SourceChanged: it has another version by now.
    """
    import requests

    try:
        with _asked(url, start, length) as response:
            if version is not None and _about(url, response).version != version:
                raise SourceChanged.while_read(shown(url))
            if start and response.status_code != 206:
                raise StorageUnavailable(f"{shown(url)}: the server does not give parts of files")
            data = bytearray()
            for block in response.iter_content(1 << 20):
                data += block
                if len(data) >= length:
                    break
            return bytes(data[:length])
    except requests.RequestException as error:
        raise _no_answer(url, error) from error


def _asked(url: str, start: int, length: int) -> "requests.Response":
    import requests

    try:
        response = _session().get(
            url,
            headers={"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"},
            stream=True,
            timeout=(10, TIMEOUT.total_seconds()),
        )
    except requests.RequestException as error:
        raise _no_answer(url, error) from error
    if response.status_code in (404, 410):
        raise NotThere(f"there is no {shown(url)}")
    if response.status_code not in (200, 206):
        hint = "; a presigned URL may have expired" if response.status_code == 403 else ""
        raise _bad_answer(url, response, hint)
    return response


def write(url: str, content: IO[bytes]) -> None:
    """Send what can be read from `content` by one PUT, which a presigned URL must be made for.

    Raises:
        StorageUnavailable: the server does not answer, or refuses.
    """
    import requests

    start = content.tell()

    def put() -> "requests.Response":
        content.seek(start)
        try:
            # Of a file, `requests` says the length, without which stores refuse it, and sends it in small blocks.
            return _session().put(url, data=content, timeout=(10, TIMEOUT.total_seconds()))
        except requests.RequestException as error:
            raise _no_answer(url, error) from error

    answer = repeated(put)
    if not answer.ok:
        hint = "; a presigned URL may have expired, or be for reading" if answer.status_code == 403 else ""
        raise _bad_answer(url, answer, hint)


def _bad_answer(url: str, answer: "requests.Response", hint: str) -> StorageUnavailable:
    final = 400 <= answer.status_code < 500 and answer.status_code not in (408, 425, 429)
    kind = StorageRefuses if final else StorageUnavailable
    return kind(f"{shown(url)}: the server answers {answer.status_code}{hint}")


def _no_answer(url: str, error: "requests.RequestException") -> Exception:
    if isinstance(error, ValueError):
        return UserError(f"{shown(url)} is not a URL that can be opened ({type(error).__name__}): correct it")
    return StorageUnavailable(
        f"{shown(url)}: the server does not answer ({type(error).__name__}); check the address and the network"
    )


@cache
def _session() -> "requests.Session":
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # its warnings show signatures
    session = requests.Session()
    retry = Retry(
        total=RETRIES,
        backoff_factor=0.2,
        backoff_max=LONGEST_PAUSE.total_seconds(),
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    for scheme in _SCHEMES:
        session.mount(f"{scheme}://", HTTPAdapter(max_retries=retry))
    return session


def shown(uri: str) -> str:
    """A URL without its query, which may hold a signature; other URIs as they are."""
    return uri.partition("?")[0] if is_web(uri) else uri

"""Source files as paths of this machine. Whoever reads one says which content it is for, so no stage can scan or cut
another than the one that was hashed."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from curate_resources.storage import object_stores
from curate_resources.storage.content import Content, content_of, on_disk
from curate_resources.storage.root import is_local, local_path
from curate_resources.storage.scratch import Scratch
from curate_resources.storage.stored_object import SourceChanged, StoredObject
from curate_resources.storage.web_files import shown
from gpu_kernels.errors import NotThere


@contextmanager
def hashed_copy(uri: str) -> Generator[tuple[str, Content], None, None]:
    """A path of this machine with what `uri` holds now, and which content that is.

    Raises:
        NotThere: there is no such file.
        SourceChanged: it was written to meanwhile.
    """
    if is_local(uri):
        path = _path(uri)
        content = content_of(path)
        with _still(uri, path, content):
            yield path, content
        return
    about = object_stores.stat(uri)
    with Scratch.of_this_machine().copy(uri, about) as path:
        yield path, replace(content_of(path), version=about.version if about.pinned else "")


@contextmanager
def local_copy(uri: str, content: Content) -> Generator[str, None, None]:
    """A path of this machine with `content`, which was found at `uri`: the file itself when it is local, else a copy
    that all processes of the machine share (curate_resources.storage.scratch).

    Raises:
        NotThere: there is no such file.
        SourceChanged: it has another content now, or was written to meanwhile.
    """
    if is_local(uri):
        path = _path(uri)
        with _still(uri, path, content):
            yield path
        return
    about = object_stores.stat(uri)
    with Scratch.of_this_machine().copy(uri, about, content) as path:
        if not _same(about, content) and content_of(path).id != content.id:
            raise SourceChanged.since_probed(shown(uri))
        yield path


@contextmanager
def _still(uri: str, path: str, content: Content) -> Generator[None, None, None]:
    """A block before and after which a local file has some content; what goes wrong in it may come of a change."""
    _check(uri, path, content)
    try:
        yield
    except Exception as error:
        try:
            _check(uri, path, content)
        except OSError as cause:
            raise cause from error
        raise
    _check(uri, path, content)


def _check(uri: str, path: str, content: Content) -> None:
    try:
        same = _same(on_disk(path), content) or content_of(path).id == content.id
    except FileNotFoundError as error:
        raise _gone(uri) from error
    if not same:
        raise SourceChanged.since_probed(shown(uri))


def _same(about: StoredObject, content: Content) -> bool:
    return about.pinned and (about.bytes, about.version) == (content.bytes, content.version)


def _path(uri: str) -> str:
    path = local_path(uri)
    if not os.path.isfile(path):
        raise _gone(uri)
    return path


def _gone(uri: str) -> NotThere:
    return NotThere(f"{uri} is gone: put it back, or add its folder again")

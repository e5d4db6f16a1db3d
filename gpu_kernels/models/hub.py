"""Fetching a model from a hub: the files that are read and no others, checked by what the hub says of them."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gpu_kernels.errors import NotThere, OperatingError, UserError
from gpu_kernels.models.files import chosen_files, digest_of, is_weights
from gpu_kernels.models.registry import Model, ModelFile
from gpu_kernels.models.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from huggingface_hub.hf_api import ModelInfo

_SECONDS = 10


def described(name: str, revision: str | None) -> "ModelInfo":
    """What the hub says of a model; `revision` may be a branch or a tag, and the answer has its commit.

    Raises:
        UserError: it has no such model or revision, or does not give it to this user.
        OperatingError: it does not answer.
    """
    with _told(name, revision):
        return _api().model_info(name, revision=revision, files_metadata=True, timeout=_SECONDS)


def fetch_from_hub(name: str, revision: str | None, store: ModelStore, known: Model | None = None) -> Model:
    """Fetch a model into a store. What is in the hub client's own cache is not fetched again.

    Args:
        known: of a registered model, whose files are then these and no others.

    Raises:
        UserError, OperatingError: as `described`; or it has only pickled weights; or a file is not what it should be.
    """
    info = described(name, revision)
    if known is not None and known.files:
        names = [file.path for file in known.files]
    else:
        names = chosen_files(name, [each.rfilename for each in info.siblings or ()])
    try:
        return _fetched(name, names, info, known, store, anew=False)
    except _Changed:  # the client's cache may be damaged, or what a file of the store was linked to
        return _fetched(name, names, info, known, store, anew=True)


class _Changed(OperatingError):
    """A file does not have the digest that the hub says."""


def _fetched(
    name: str, names: Sequence[str], info: "ModelInfo", known: Model | None, store: ModelStore, anew: bool
) -> Model:
    with store.adding() as folder:
        with _told(name, info.sha):
            fetched = _api().snapshot_download(name, revision=info.sha, allow_patterns=names, force_download=anew)
        for each in names:
            _link(Path(fetched) / each, folder / each)
        _check(name, folder, names, info)
        return store.add(_model(name, folder, names, info, known), folder)


def _model(name: str, folder: Path, names: Sequence[str], info: "ModelInfo", known: Model | None) -> Model:
    if known is not None and known.files:
        return known
    files = [_file(folder, each) for each in names]
    card = info.card_data.to_dict() if info.card_data is not None else {}
    weights = sum(file.bytes for file in files if is_weights(file.path))
    assert info.sha is not None
    return Model(
        name=name,
        revision=info.sha,
        source="hub",
        files=tuple(files),
        licence=str(card.get("license_name") or card.get("license") or "not stated"),
        gate=f"{_hub()}/{name}" if info.gated else None,
        memory_gib=round(weights / 2**30, 2),
        environment=known.environment if known is not None else None,
    )


def _file(folder: Path, name: str) -> ModelFile:
    return ModelFile(path=name, bytes=(folder / name).stat().st_size, sha256=digest_of(folder / name))


def _check(name: str, folder: Path, names: Sequence[str], info: "ModelInfo") -> None:
    """Large files have a SHA-256 on the hub, small ones git's own digest."""
    said = {each.rfilename: each for each in info.siblings or ()}
    for each in names:
        about, path = said.get(each), folder / each
        if about is None:
            raise NotThere(f"the hub has no {each} of model {name} at {info.sha}")
        found = digest_of(path) if about.lfs is not None else _git_digest(path)
        wanted = about.lfs.sha256 if about.lfs is not None else about.blob_id
        if wanted is not None and found != wanted:
            raise _Changed(f"{each} of model {name} came with digest {found}, and the hub says {wanted}: try again")


def _git_digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _link(source: Path, target: Path) -> None:
    """The same file twice without its content twice, where both are on one disk."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _hub() -> str:
    return _endpoint() or "https://huggingface.co"


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint())


@contextmanager
def _told(name: str, revision: str | None) -> "Generator[None, None, None]":
    """Errors of the hub's client as ours, with the remedy."""
    from huggingface_hub import errors

    # Those of the client's HTTP library, which is not the same in all its versions.
    client_errors = cast("tuple[type[Exception], ...]", (OSError, *errors.HfHubHTTPError.__bases__))
    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{_hub()}/{name}"
        raise UserError(f"model {name} is gated: accept its terms at {page}, and set HF_TOKEN to your token") from error
    except errors.RevisionNotFoundError as error:
        raise NotThere(f"the hub has model {name}, but not its revision {revision}") from error
    except errors.RepositoryNotFoundError as error:
        raise NotThere(f"the hub has no model {name}, or it is private and HF_TOKEN is not set to a token") from error
    except client_errors as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OperatingError(
            f"the hub at {_hub()} does not give model {name}: {first}; where there is no network, "
            "`curate models download --from` takes a folder or a bucket"
        ) from error

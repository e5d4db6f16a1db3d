"""From a model as settings name it to what pins it, and to the folder that it is loaded from."""

import re
from pathlib import Path

from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.models.files import check_undamaged, folder_revision, is_hub_id
from gpu_kernels.models.registry import registered
from gpu_kernels.models.section import Wanted
from gpu_kernels.models.store import ModelStore


def check_hub_pin(model: str, revision: str | None) -> None:
    """Raise ValueError if `model` is a hub id that is not registered, and `revision` is not a commit."""
    if is_hub_id(model) and model not in registered() and not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ValueError(
            f"hub id {model!r} needs `revision`, the commit's 40 hexadecimal digits: a branch or a tag can move, and "
            f"results could then not be reproduced (got {revision!r})"
        )


def pinned_model(model: str, revision: str | None) -> tuple[str, str]:
    """(name, revision) of a model folder, a hub id or a registered model. A folder is named by its last part and pinned
    by its content, so that moving it changes nothing.

    Raises:
        FileNotFoundError: `model` is none of these, or the folder holds no safetensors weights.
        ValueError: a hub id without a commit, or a folder whose content is not the one that `revision` pins.
    """
    if (kept := kept_in_a_store(model, revision)) is not None:
        return kept
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise NotThere(
            f"model {model!r} is neither a folder here nor a hub id `owner/name`, and no model is registered by that "
            "name; one that was put into a store by `curate models download` needs its `revision`"
        )
    found = folder_revision(folder)
    if revision is not None and revision != found:
        raise UserError(f"the configuration pins revision {revision}, but the folder {folder.name!r} holds {found}")
    return folder.resolve().name, found


def model_folder(model: str, revision: str | None) -> Path:
    """The folder of this machine that a model is loaded from; nothing is fetched.

    Raises:
        FileNotFoundError: it is not on this machine; the message says how it gets there.
        UserError: a file of it is damaged.
    """
    kept = kept_in_a_store(model, revision)
    folder = ModelStore.here().folder(*kept) if kept is not None else Path(model).expanduser()
    check_undamaged(model, folder)
    return folder


def missing(wanted: Wanted) -> tuple[str, str] | None:
    """(name, revision) of a model that would have to be fetched; None: it is on this machine, or cannot be fetched."""
    kept = kept_in_a_store(wanted.model, wanted.revision)
    if kept is None:
        return None
    try:
        ModelStore.here().folder(*kept)
    except NotThere:
        return kept
    return None


def kept_in_a_store(model: str, revision: str | None) -> tuple[str, str] | None:
    """(name, revision) of what is neither a folder here nor a package."""
    check_hub_pin(model, revision)
    known = registered().get(model)
    if known is not None and known.source == "package":
        return None
    if not is_hub_id(model) and (Path(model).expanduser().is_dir() or not re.fullmatch(r"\w[\w.-]*", model)):
        return None
    revision = revision or (known.revision if known is not None else None)
    return (model, revision) if revision is not None else None

"""Names of shards: of the source that their files come from, or as a user chose."""

import re
import unicodedata
from pathlib import PurePosixPath

from curate_resources.sources.manifests import place_of
from curate_resources.storage.root import is_local, local_path
from gpu_kernels.errors import UserError

_LONGEST_NAME = 100


def shard_name(source: str) -> str:
    """A shard name from the last part of a folder's path: lower-case letters of ASCII, digits and dashes."""
    path = local_path(source) if is_local(source) else place_of(source).rstrip("/").split("://")[-1]
    return slug(PurePosixPath(path).name.removesuffix(".zip"))[:_LONGEST_NAME].strip("-") or "shard"


def given_shard_name(name: str) -> str:
    """A shard name from one that a user chose.

    Raises:
        UserError: too little of it can be part of a shard's name, or it is too long.
    """
    made = slug(name)
    letters = sum(each.isalnum() for each in unicodedata.normalize("NFKD", name))
    if len(made.replace("-", "")) < letters or not made:
        raise UserError(f"--name {name!r}: only letters a to z, digits and dashes can be part of a shard's name")
    if len(made) > _LONGEST_NAME:
        raise UserError(f"--name {name!r}: a shard's name has at most {_LONGEST_NAME} characters")
    return made


def slug(name: str) -> str:
    """Lower-case letters without accents, and digits; one dash for all between them."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")

"""Lance datasets, opened and created, whoever else creates them."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from curate_resources.storage.root import Storage, is_local

if TYPE_CHECKING:
    import lance


def opened(storage: Storage, path: str, session: "lance.Session | None" = None) -> "lance.LanceDataset | None":
    """The newest version of the dataset at a path below the root; None if it was never created."""
    import lance

    try:
        return lance.dataset(storage.lance_uri(path), storage_options=storage.lance_options, session=session)
    except (ValueError, FileNotFoundError) as error:
        if "not found" in str(error).lower():
            return None
        raise


def created(storage: Storage, path: str, schema: pa.Schema) -> "lance.LanceDataset":
    """A new dataset without rows, or the one that another writer created first.

    Lance's mode "create" is not atomic: it looks whether there is a dataset, and then overwrites what came in between
    (lance-format/lance#4451). Without retries an overwrite is a commit on top of what it has read, here of nothing.
    """
    import lance

    uri = storage.lance_uri(path)
    if is_local(storage.root):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
    nothing = lance.LanceOperation.Overwrite(schema, [])
    try:
        return lance.LanceDataset.commit(uri, nothing, max_retries=0, storage_options=storage.lance_options)
    except OSError:
        dataset = opened(storage, path)
        if dataset is None:
            raise
        return dataset

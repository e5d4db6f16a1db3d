"""What tells a root from any other folder or prefix: what a first use leaves there."""

from curate_resources.storage import Storage

_FOLDERS = ("manifests", "tables")
_FILES = ("curate.yaml", "sources.yaml")


def is_root(storage: Storage) -> bool:
    """Whether anything was ever added, declared or set there."""
    return any(storage.exists(name) for name in _FILES) or any(
        storage.files(name) or storage.folders(name) for name in _FOLDERS
    )

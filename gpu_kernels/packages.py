"""What installed packages bring, by their entry points."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def brought(group: str) -> list[EntryPoint]:
    """The entry points of a group, by name."""
    return sorted(_all().select(group=group), key=lambda entry: entry.name)


@cache
def _all() -> Any:
    """Of all groups at once, because to look through the packages takes as long as to import a large one. What it is
    depends on the version of Python; all can `select`."""
    return entry_points()

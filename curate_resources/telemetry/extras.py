"""Packages that only those need who ask for what they do."""

from importlib.util import find_spec

from gpu_kernels.errors import UserError


class MissingPackage(UserError):
    """Something was asked for whose package is not installed."""


def needed(module: str, what: str, remedy: str) -> None:
    """See that a module is there.

    Raises:
        MissingPackage: it is not, with the remedy.
    """
    if not there(module):
        raise MissingPackage(f"{what} needs {module}, which is not installed: {remedy}")


def there(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent
        return False

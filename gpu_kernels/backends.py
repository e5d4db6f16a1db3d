"""Sections of which there is one kind per backend, each with its own settings, told apart by the key `backend`."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo

from gpu_kernels import packages
from gpu_kernels.errors import UserError
from gpu_kernels.strict import StrictModel

Config = TypeVar("Config", bound=StrictModel)

KEY = "backend"


class Backends(Generic[Config]):
    """The backends that there are: our own, and those that other packages bring.

    Args:
        base: what they have in common: settings, and what they are asked.
        own: our own; the first is the default.
        brought_as: the group of entry points by which packages bring others: subclasses of `base` with a field
            `backend` of one literal, its default.

    Raises:
        UserError: what a package brings is no such class, or has the name of another backend.
    """

    def __init__(self, base: type[Config], own: Sequence[type[Config]], brought_as: str) -> None:
        self.base = base
        self.kinds: dict[str, type[Config]] = {}
        for kind in (*own, *_brought(base, brought_as)):
            name = kind.model_fields[KEY].default
            if name in self.kinds:
                raise UserError(f"two backends are called {name!r}: {self.kinds[name]} and {kind}")
            self.kinds[name] = kind

    @property
    def default(self) -> Config:
        """The section where nothing is said."""
        return next(iter(self.kinds.values()))()

    @property
    def annotation(self) -> Any:
        """The type of the section: pydantic's discriminated union, in which `backend` need not be said."""
        of_backend = Annotated[reduce(or_, self.kinds.values()), Field(discriminator=KEY)]
        return Annotated[of_backend, BeforeValidator(self._named), self]

    def _named(self, settings: Any) -> Any:
        if isinstance(settings, dict) and KEY not in settings:
            return {KEY: next(iter(self.kinds)), **settings}
        return settings


def backends_of(field: FieldInfo) -> Backends[Any] | None:
    """The backends of a section that has some."""
    return next((each for each in field.metadata if isinstance(each, Backends)), None)


def _brought(base: type[Config], group: str) -> Iterator[type[Config]]:
    for entry in packages.brought(group):
        kind = entry.load()
        if not (isinstance(kind, type) and issubclass(kind, base) and KEY in kind.model_fields):
            raise UserError(f"the entry point {entry.name} = {entry.value} of {group} names no {base.__name__}")
        yield kind

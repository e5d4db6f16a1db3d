"""The base of every config section: unknown keys are errors, values are fixed once made."""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Unrepeated(ValueError):
    """A setting is wrong, and what was given is not to be repeated: it may be a secret."""


class StrictModel(BaseModel):
    """A config section. Its fields carry the defaults and their descriptions; the docs are generated from them."""

    # Docstrings are looked for when somebody asks: see `descriptions`. Pydantic would read all sources at every start.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    without_effect: ClassVar[frozenset[str]] = frozenset()
    """Fields that affect how a result is obtained, not the result: where a model runs, how often a call is tried."""

    unless_default: ClassVar[frozenset[str]] = frozenset()
    """Fields of a class that came later: rows that were stored without them hold while they have their defaults."""

    @classmethod
    def came_later(cls) -> frozenset[str]:
        """`unless_default` of all classes that it is made of."""
        return frozenset[str]().union(*(vars(each).get("unless_default", ()) for each in cls.__mro__))

    def settings(self) -> dict[str, Any]:
        """The fields that a result depends on, as plain values: what goes into fingerprints."""
        fields = type(self).model_fields
        at_default = {key for key in self.came_later() if getattr(self, key) == fields[key].default}
        left_out = self.without_effect | at_default
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in left_out}


@cache
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """What each field of a model means, by name: its description, or else the docstring under it."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= _docstrings(each)
    fields = model.model_fields
    said = {name: found[name] for name in fields if name in found}
    return said | {name: field.description for name, field in fields.items() if field.description}


def _docstrings(of: type) -> dict[str, str]:
    """Those in the source of a class; none where it has no source, because it was made."""
    try:
        (parsed,) = ast.parse(dedent(inspect.getsource(of))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(parsed, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(said.value.value)
        for field, said in pairwise(parsed.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
        and isinstance(said.value.value, str)
    }

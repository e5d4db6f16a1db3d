"""The base of every config section: unknown keys are errors, values are fixed once made."""

import ast
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, ClassVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

_NO_NUMBER = "must be a number, not yes or no (YAML takes on, off, yes and no for those)"


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

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, given: Any) -> Any:
        """Pydantic takes false for 0, and YAML takes `off` and `no` for false: a threshold would be 0, and not off."""
        if isinstance(given, Mapping):
            settings = cast("Mapping[str, Any]", given)
            kinds = {key: field.annotation for key, field in cls.model_fields.items() if key in settings}
            wrong = [each for key, kind in kinds.items() for each in _flags_for_numbers(kind, settings[key], (key,))]
            if wrong:
                raise ValidationError.from_exception_data(cls.__name__, wrong)
        return given

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


def _flags_for_numbers(kind: Any, value: Any, place: tuple[int | str, ...]) -> Iterator[Any]:
    """An error, as pydantic takes it, for each truth value that stands where a type has a number, also within lists and
    mappings."""
    every = _alternatives(kind)
    if isinstance(value, bool):
        if bool not in every and {int, float} & {*every}:
            said = _NO_NUMBER + ("; null switches it off" if type(None) in every else "")
            yield {"type": "value_error", "loc": place, "input": value, "ctx": {"error": ValueError(said)}}
    elif isinstance(value, dict):
        for key, each in cast("dict[str, Any]", value).items():
            for _, below in (args for args in map(get_args, every) if len(args) == 2):
                yield from _flags_for_numbers(below, each, (*place, key))
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(cast("Sequence[Any]", value)):
            for below in dict.fromkeys(arg for one in every for arg in get_args(one)):
                yield from _flags_for_numbers(below, each, (*place, index))


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union; of another type, that one alone."""
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(each for one in get_args(kind) for each in _alternatives(one))
    return (kind,)


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

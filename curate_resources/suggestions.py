"""Messages about unknown names, with the names that were probably meant."""

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_MOST = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'clips'?`, to end a message about an unknown name with; empty if nothing known is like it."""
    by_small_letters = {each.lower(): each for each in known}
    return meant(by_small_letters[each] for each in get_close_matches(name.lower(), by_small_letters, n=_MOST))


def wrong_settings(error: ValidationError, model: type[BaseModel], with_values: bool = True) -> list[str]:
    """One line for each setting that is wrong, by its path: `clips.min_second: unknown key; did you mean ...?`.

    Args:
        with_values: whether the lines say what was given, which may be a secret.
    """
    return [
        f"{'.'.join(map(str, each['loc'])) or 'config'}: {_said(each, model, with_values)}" for each in error.errors()
    ]


def _said(wrong: Any, model: type[BaseModel], with_values: bool) -> str:
    if wrong["type"] == "extra_forbidden":
        *sections, name = map(str, wrong["loc"])
        beside = _fields(_within(model, sections))
        same = [path for path in _paths(model) if path.endswith(f".{name}")]
        return f"unknown key{did_you_mean(name, beside) or meant(same)}"
    said = wrong["msg"].removeprefix("Value error, ")
    return f"{said} (got {wrong['input']!r})" if with_values and wrong["loc"] else said


def meant(names: Iterable[str]) -> str:
    """The same of names that are known to have been meant."""
    some = [repr(name) for name in islice(names, _MOST)]
    return f"; did you mean {' or '.join(some)}?" if some else ""


def _paths(kind: Any) -> Iterator[str]:
    """All keys of a model's sections."""
    for section in _fields(kind):
        yield from (f"{section}.{key}" for key in _fields(_within(kind, [section])))


def _within(kind: Any, path: Sequence[str]) -> Any:
    """The type of the settings at a path; None: there are none."""
    for part in path:
        if part in (fields := _fields(kind)):
            kind = fields[part].annotation
        else:
            kind = get_args(kind)[1] if get_origin(kind) is dict else None
        if get_origin(kind) in (Union, types.UnionType):
            kind = next((each for each in get_args(kind) if _fields(each)), None)
    return kind


def _fields(kind: Any) -> Mapping[str, FieldInfo]:
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}

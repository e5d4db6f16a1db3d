"""Messages about unknown names, with the names that were probably meant."""

import types
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from gpu_kernels.backends import KEY as BACKEND
from gpu_kernels.backends import Backends, backends_of
from gpu_kernels.strict import Unrepeated, descriptions

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
    return [": ".join(_wrong(each, model, with_values)) for each in error.errors()]


def _wrong(wrong: Any, model: type[BaseModel], with_values: bool) -> tuple[str, ...]:
    """The path of a setting and what is wrong with it; where several together are wrong, that alone."""
    place = _Place(model, map(str, wrong["loc"]))
    path = ".".join(place.path) or "config"
    match wrong["type"]:
        case "extra_forbidden":
            return path, place.unknown(model)
        case "union_tag_invalid" if place.backends is not None:
            tag = wrong["ctx"]["tag"]
            known = did_you_mean(tag, place.backends.kinds) or f"; there are {', '.join(place.backends.kinds)}"
            return f"{path}.{BACKEND}", f"there is no backend {tag!r}{known}"
        case "model_type" | "model_attributes_type":
            return (
                path,
                f"must be a mapping of settings (got {wrong['input']!r})" if with_values else "must be a mapping",
            )
        case "missing" if place.chosen is not None:
            meaning = descriptions(place.owner).get(place.path[-1], "")
            return path, f"backend {place.chosen} needs it. {' '.join(meaning.split())}"
        case _:
            said = wrong["msg"].removeprefix("Value error, ")
            with_values = with_values and not isinstance(wrong.get("ctx", {}).get("error"), Unrepeated)
            if not wrong["loc"]:
                return (said,)
            return path, f"{said} (got {wrong['input']!r})" if with_values else said


class _Place:
    """Where in the settings an error is.

    Attributes:
        path: the keys that lead there, as the user writes them.
        owner: the model that has, or lacks, the last of them.
        backends, chosen: of the section, and which of them it names.
    """

    def __init__(self, model: type[BaseModel], places: Iterable[str]) -> None:
        self.path: list[str] = []
        self.owner: Any = None
        self.backends: Backends[Any] | None = None
        self.chosen: str | None = None
        kind: Any = model
        for part in places:
            if self.backends is not None and self.chosen is None:
                self.chosen, kind = part, self.backends.kinds[part]  # pydantic puts the backend into the place
                continue
            self.path.append(part)
            self.owner, (kind, backends) = kind, _below(kind, part)
            self.backends = backends or self.backends

    def unknown(self, model: type[BaseModel]) -> str:
        """What to say of a key that the owner does not have."""
        name = self.path[-1]
        others = (
            [other for other, kind in self.backends.kinds.items() if name in _fields(kind)] if self.backends else []
        )
        if others:
            *first, last = others
            have = f"{', '.join(first)} and {last} have it" if first else f"{last} has it"
            section = ".".join(self.path[:-1])
            return f"backend {self.chosen} has no such setting, {have}: set {section}.{BACKEND}, or remove the key"
        same = [path for path in _paths(model) if path.endswith(f".{name}")]
        return f"unknown key{did_you_mean(name, _fields(self.owner)) or meant(same)}"


def meant(names: Iterable[str]) -> str:
    """The same of names that are known to have been meant."""
    some = [repr(name) for name in islice(names, _MOST)]
    return f"; did you mean {' or '.join(some)}?" if some else ""


def _paths(model: type[BaseModel]) -> Iterator[str]:
    """All keys of a model's sections."""
    for section in _fields(model):
        kind, backends = _below(model, section)
        keys = dict.fromkeys(key for each in (backends.kinds.values() if backends else [kind]) for key in _fields(each))
        yield from (f"{section}.{key}" for key in keys)


def _below(kind: Any, part: str) -> tuple[Any, Backends[Any] | None]:
    """The type of what a key of a model or a mapping holds, and its backends; None: there is none."""
    if part not in (fields := _fields(kind)):
        return (get_args(kind)[1] if get_origin(kind) is dict else None), None
    below = fields[part].annotation
    if get_origin(below) in (Union, types.UnionType):
        below = next((each for each in get_args(below) if _fields(each)), None)
    return below, backends_of(fields[part])


def _fields(kind: Any) -> Mapping[str, FieldInfo]:
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}

"""Backends: which kind of a section is meant, and those that other packages bring."""

from importlib.metadata import EntryPoint
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter

from gpu_kernels import packages
from gpu_kernels.backends import Backends
from gpu_kernels.errors import UserError
from gpu_kernels.strict import StrictModel


class Base(StrictModel):
    size: int = 1


class Plain(Base):
    backend: Literal["plain"] = "plain"


class Fancy(Base):
    backend: Literal["fancy"] = "fancy"
    colour: str


class Clash(Base):
    backend: Literal["plain"] = "plain"


def brought(monkeypatch: pytest.MonkeyPatch, name: str) -> Backends[Any]:
    entry = EntryPoint("other", f"{__name__}:{name}", "curate.things")
    monkeypatch.setattr(packages, "brought", lambda group: [entry] if group == "curate.things" else [])
    monkeypatch.setattr(EntryPoint, "load", lambda entry: globals()[entry.value.partition(":")[2]])
    return Backends(Base, (Plain,), "curate.things")


def test_the_first_is_meant_where_none_is_named_and_a_package_brings_others(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = TypeAdapter(brought(monkeypatch, "Fancy").annotation).validate_python
    assert parsed({}) == Plain() and parsed({"size": 2}) == Plain(size=2)
    assert parsed({"backend": "fancy", "colour": "red"}) == Fancy(colour="red")


@pytest.mark.parametrize(("name", "why"), [("Clash", "two backends are called 'plain'"), ("StrictModel", "names no")])
def test_what_a_package_brings_is_a_backend_of_its_own_name(
    monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    with pytest.raises(UserError, match=why):
        brought(monkeypatch, name)

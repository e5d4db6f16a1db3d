"""The base of every config section: unknown keys are errors, values are fixed once made."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Unrepeated(ValueError):
    """A setting is wrong, and what was given is not to be repeated: it may be a secret."""


class StrictModel(BaseModel):
    """A config section. Its fields carry the defaults and their descriptions; the docs are generated from them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

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

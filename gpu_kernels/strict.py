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

    def settings(self) -> dict[str, Any]:
        """The fields that a result depends on, as plain values: what goes into fingerprints."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in self.without_effect}

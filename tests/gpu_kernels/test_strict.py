"""What fields mean is found where it is written: under them, in a base, or in what made the class; and a number is a
number."""

from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field, ValidationError, create_model

from gpu_kernels.strict import StrictModel, descriptions


class Base(StrictModel):
    size: int = 1
    """How large."""
    shape: str = "round"
    """How it looks."""
    kept: int = Field(default=1, description="As it was.")


class Derived(Base):
    shape: str = "square"
    """How it looks
    from above."""
    plain: int = 0


def test_docstrings_and_descriptions_of_all_classes_and_the_last_one_counts() -> None:
    assert descriptions(Derived) == {"size": "How large.", "shape": "How it looks\nfrom above.", "kept": "As it was."}
    made = create_model("Made", __base__=Derived, size=(int, Field(default=2, description="How wide.")))
    assert descriptions(made) == {**descriptions(Derived), "size": "How wide."}


class Numbers(StrictModel):
    limit: float | None = None
    count: Annotated[int, Field(ge=0)] = 1
    prices: dict[str, float] = Field(default_factory=dict)
    sizes: tuple[Annotated[int, Field(ge=0)], ...] = ()
    shares: list[list[float]] | None = None
    flag: bool = False
    either: bool | int = 0
    below: Derived = Derived()


@pytest.mark.parametrize(
    "text",
    [
        "limit: off",
        "limit: true",
        "count: yes",
        "prices: {a: no}",
        "sizes: [1, on]",
        "shares: [[off]]",
        "below: {size: no}",
    ],
)
def test_a_flag_is_no_number(text: str) -> None:
    with pytest.raises(ValidationError, match="must be a number, not yes or no") as refused:
        Numbers.model_validate(yaml.safe_load(text))
    assert ("null switches it off" in str(refused.value)) == text.startswith("limit")


def test_numbers_null_and_flags_where_they_are_asked_for_are_taken() -> None:
    given: dict[str, Any] = {
        "limit": None,
        "count": 3,
        "prices": {"a": 1},
        "sizes": [1, 2],
        "flag": True,
        "either": True,
    }
    taken = Numbers.model_validate({**given, "below": {"size": 4}})
    assert (taken.flag, taken.either, taken.sizes, taken.below.size) == (True, True, (1, 2), 4)
    assert Numbers.model_validate({"limit": "1e-6"}).limit == 1e-6  # which YAML takes for a text

"""What fields mean is found where it is written: under them, in a base, or in what made the class."""

from pydantic import Field, create_model

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

"""What models are asked about windows: a text per file, by the name of the variant; in folders, what other stages ask.

A file that changes makes captions by it stale, as any change of the setting does.
"""

from functools import cache
from pathlib import Path
from typing import Literal, get_args

from gpu_kernels.errors import NotThere, UserError

Variant = Literal["default", "driving", "surveillance", "image"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


_HERE = Path(__file__).parent


@cache
def prompt_of(variant: str, folder: str = "") -> str:
    """The text of a variant."""
    return (_HERE / folder / f"{variant}.md").read_text("utf-8").strip()


@cache
def variants(folder: str = "") -> frozenset[str]:
    """The variants that there are."""
    return frozenset(path.stem for path in (_HERE / folder).glob("*.md"))


def prompt_in(path: str) -> str:
    """The text in a file of this machine, without white space around it.

    Raises:
        NotThere, UserError: there is no such file, or no text in it.
    """
    try:
        text = Path(path).expanduser().read_text("utf-8").strip()
    except OSError as error:
        raise NotThere(f"the prompt {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the prompt {path} is not text in UTF-8") from error
    if not text:
        raise UserError(f"the prompt {path} is empty")
    return text

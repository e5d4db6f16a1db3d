"""Settings that name models: what they need on the machine that works, and whom they ask."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.strict import StrictModel


@dataclass(frozen=True)
class Wanted:
    """A model as settings name it: a folder, a hub id, or a registered name; `revision` pins it, if it is given."""

    model: str
    revision: str | None = None


@dataclass(frozen=True)
class Server:
    """A server with a list of its models at `<url>/models`.

    Attributes:
        key_env: the variable with its key.
        key_file: the file with its key, in place of the variable.
        header: the one that the key goes into.
    """

    url: str
    key_env: str
    key_file: str | None = None
    header: Literal["Authorization", "x-goog-api-key"] = "Authorization"

    @property
    def key_from(self) -> str:
        """Where its key comes from, in words."""
        return f"the file {self.key_file}" if self.key_file is not None else self.key_env

    def key(self) -> str | None:
        """Its key, as it is now: a mounted one may be replaced at any time. None: it wants none.

        Raises:
            NotThere: the file cannot be read.
            UserError: what is there can be no key. It is not repeated.
        """
        if self.key_file is None:
            found = os.environ.get(self.key_env, "").strip() or None
        else:
            try:
                found = Path(self.key_file).expanduser().read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise NotThere(
                    f"there should be a key for {self.url} in {self.key_from}: {type(error).__name__}"
                ) from None
        if found is not None and not re.fullmatch(r"[ -~]+", found):
            raise UserError(f"{self.key_from} holds no key for {self.url}: it is empty, or more than one line of ASCII")
        return found

    def headers(self) -> dict[str, str]:
        """With which it knows who asks."""
        if (key := self.key()) is None:
            return {}
        return {self.header: f"Bearer {key}" if self.header == "Authorization" else key}


class ModelSection(StrictModel):
    """A section that may name models or servers."""

    def models(self) -> tuple[Wanted, ...]:
        """What has to be on a machine before it can work."""
        return ()

    def servers(self) -> tuple[Server, ...]:
        """Who is asked in its stead."""
        return ()

"""Settings that name models: what they need on the machine that works, and whom they ask."""

from dataclasses import dataclass

from gpu_kernels.strict import StrictModel


@dataclass(frozen=True)
class Wanted:
    """A model as settings name it: a folder, a hub id, or a registered name; `revision` pins it, if it is given."""

    model: str
    revision: str | None = None


@dataclass(frozen=True)
class Server:
    """A server with a list of its models at `<url>/models`; `key_env` is the variable with its key."""

    url: str
    key_env: str


class ModelSection(StrictModel):
    """A section that may name models or servers."""

    def models(self) -> tuple[Wanted, ...]:
        """What has to be on a machine before it can work."""
        return ()

    def servers(self) -> tuple[Server, ...]:
        """Who is asked in its stead."""
        return ()

"""Which graph a root is curated by: read from its configuration before any graph is imported.

A process runs one graph. The environment names it, or the root does; else it is the video graph.
"""

import os

from pydantic import Field, ValidationError

from curate_resources.storage.root import Storage, root_uri
from gpu_kernels.errors import UserError
from gpu_kernels.strict import StrictModel

CONFIG_FILE = "curate.yaml"
VARIABLE = "CURATE_GRAPH"


class GraphChoice(StrictModel):
    """The graph of a root: which one, and what it has several times."""

    graph: str | None = None
    """The graph that the root is curated by: `video`, or one that another package brings. It is chosen once, with the
    first file that is added."""
    variants: dict[str, list[str]] = Field(default_factory=dict)
    """By asset, the names of variants that are made beside it: `captions: [detailed]` makes `captions_detailed`, with a
    section, a table and a history of its own ([variants](operations.md#variants))."""
    reads: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By asset, the variants that it reads: `training_dataset: {captions: captions_detailed}`. What is made from it and
    reads the same assets reads the same variants."""

    @classmethod
    def decoded(cls, text: str) -> "GraphChoice":
        """What the environment variable says: a graph's name, or all of a choice as JSON.

        Raises:
            UserError: it is no choice.
        """
        if not text.startswith("{"):
            return cls(graph=text)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise UserError(f"{VARIABLE} must be the name of a graph, or JSON such as {_EXAMPLE}: {error}") from error

    @property
    def several(self) -> tuple[dict[str, list[str]], dict[str, dict[str, str]]]:
        """Its variants, and what reads them."""
        return self.variants, self.reads

    @property
    def encoded(self) -> str:
        """The value of the environment variable."""
        return self.model_dump_json(exclude_defaults=True) if self.variants or self.reads else self.graph or ""


_EXAMPLE = '{"graph": "video", "variants": {"captions": ["detailed"]}}'


def graph_of(root: str | None = None) -> GraphChoice:
    """The graph that `<root>/curate.yaml` chooses; the default where it says nothing or cannot be read: whoever reads
    it for its settings says what is wrong."""
    try:
        import yaml  # not in the core that workers have: they are sent their stages

        said = yaml.safe_load(Storage(root_uri(root)).read(CONFIG_FILE))
        return GraphChoice.model_validate({key: said[key] for key in GraphChoice.model_fields if key in said})
    except Exception:
        return GraphChoice()


def choose_graph(root: str | None) -> None:
    """Have this process and those that it starts run the graph of a root, unless the environment names one."""
    if VARIABLE not in os.environ and (choice := graph_of(root).encoded):
        os.environ[VARIABLE] = choice

"""What all commands share: their common options, and errors as one line and an exit code.

Commands import what they work with when they are called: `curate --help` then does not import Dagster.
"""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from curate_cli.printing import escaped
from gpu_kernels.errors import CurateError, UserError

if TYPE_CHECKING:
    from curate_resources.manifests import Manifests

OK, FAILED, USAGE = 0, 1, 2
"""Exit codes: all well; something failed or is missing; the call, the configuration or the query is wrong."""

Root = Annotated[str | None, typer.Option(help="Root URI. Default: CURATE_ROOT, else ./curate-data.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Select = Annotated[
    str, typer.Option(help="Assets: clips; clips,captions; clips+ and all downstream; +clips and all upstream; '*'.")
]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML with settings that go before <root>/curate.yaml.")]
Shards = Annotated[
    list[str] | None,
    typer.Option(
        help="A shard, a range such as a-000000..a-000004, or a pattern such as 'a-*'; may be repeated. "
        "Default: all shards."
    ),
]


def told(command: Callable[..., int]) -> Callable[..., None]:
    """The command with an exit code; errors that a user can mend become one line on standard error."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            code = command(*arguments, **options)
        except CurateError as error:
            _fail(error, bool(options.get("as_json")))
            code = USAGE if isinstance(error, UserError) else FAILED
        raise typer.Exit(code)

    return run


def _fail(error: Exception, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}))
    else:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {escaped(str(error))}")


def given_settings(config: Path | None) -> dict[str, Any]:
    """The settings of the file that was named, if one was.

    Raises:
        ConfigError: it cannot be read, or is no mapping of sections.
    """
    from curate_assets.config import ConfigError, parse_config

    if config is None:
        return {}
    try:
        return parse_config(config.read_bytes(), str(config))
    except OSError as error:
        raise ConfigError(f"--config {config} cannot be read: {error.strerror}") from error


def chosen_shards(manifests: "Manifests", chosen: list[str] | None) -> list[str]:
    """The shards that were named, else all.

    Raises:
        ManifestError: there are none, or none of a name.
    """
    from curate_resources.manifests import ManifestError

    known = manifests.shards()
    if not known:
        raise ManifestError(f"there are no shards under {manifests.storage.root}: `curate add <folder>` makes them")
    return manifests.matching(chosen) if chosen else known

"""What all commands share: their common options, and errors as one line and an exit code.

Commands import what they work with when they are called: `curate --help` then does not import Dagster.
"""

import inspect
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate_cli.log_file import bug_report, noise_to_log, own_logs
from curate_cli.printing import escaped, messages, messages_to, print_document
from curate_resources.engines import interruption
from gpu_kernels.errors import UserError

if TYPE_CHECKING:
    from curate_resources.storage.root import Storage

OK, FAILED, USAGE, BUG, CANCELED = 0, 1, 2, 70, 130
"""Exit codes: all well; something failed or is missing; the call, the configuration or the query is wrong; an error of
the program itself; ended by Ctrl-C or SIGTERM."""

Root = Annotated[str | None, typer.Option(help="Root URI. Default: CURATE_ROOT, else ./curate-data.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and what libraries say.")]
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
    """The command with an exit code and a `--debug`; errors become one line on standard error, or one JSON document.

    Meanwhile what libraries say goes into the log, and so does the traceback of every error.
    """

    @wraps(command)
    def run(*arguments: Any, debug: bool = False, **options: Any) -> None:
        as_json = bool(options.get("as_json"))
        with nullcontext() if debug else noise_to_log() as log:
            path, terminal = log or (None, sys.stderr)
            with messages_to(terminal), own_logs():
                try:
                    _choose_graph(options.get("root"))
                    code = command(*arguments, **options)
                except KeyboardInterrupt as interrupt:
                    interruption.notice()
                    _note(interrupt)
                    code = CANCELED
                except BrokenPipeError:  # whoever read the output has seen enough
                    raise
                except Exception as error:
                    _note(error)
                    code = _failed(error, options.get("root"), as_json, path)
        raise typer.Exit(code)

    signature = inspect.signature(command)
    parameter = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Debug)
    vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), parameter])
    run.__annotations__ = {**command.__annotations__, "debug": _Debug}
    return run


def _choose_graph(root: str | None) -> None:
    from curate_assets.graph.root_graph import choose_graph

    choose_graph(root)


def _note(error: BaseException) -> None:
    """The traceback, in the log or where there is none on the terminal."""
    with open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as descriptor:
        traceback.print_exception(error, file=descriptor)


def _failed(error: Exception, root: str | None, as_json: bool, log: Path | None) -> int:
    """Tell of an error, and give its exit code."""
    from curate_resources.pipeline.operating_errors import operating_error
    from curate_resources.storage.root import possible_root

    known = operating_error(error, possible_root(root))
    if known is not None:
        tell_error(type(known).__name__, str(known), as_json)
        return USAGE if isinstance(known, UserError) else FAILED
    tell_error("Bug", bug_report(f"{type(error).__name__}: {error}"), as_json, log)
    return BUG


def tell_error(kind: str, message: str, as_json: bool, log: Path | None = None) -> None:
    """One sentence for people, or one document on standard output for programs."""
    if as_json:
        print_document({"error": {"type": kind, "message": message, **({"log": str(log)} if log else {})}})
    else:
        messages().print(f"[red]error:[/red] {escaped(message)}")


def given_settings(config: Path | None) -> dict[str, Any]:
    """The settings of the file that was named, if one was.

    Raises:
        ConfigError: it cannot be read, or is not a mapping of sections.
    """
    from curate_assets.graph.platform import ConfigError
    from curate_assets.settings.resolve import parse_config

    if config is None:
        return {}
    try:
        return parse_config(config.read_bytes(), str(config))
    except OSError as error:
        raise ConfigError(f"--config {config} cannot be read: {error.strerror}") from error


def of_video_graph(command: str) -> None:
    """See that the root is one of videos.

    Raises:
        UserError: it is curated by another graph.
    """
    from curate_assets.graphs import GRAPH
    from curate_assets.video.graph import VIDEO

    if GRAPH.name != VIDEO.name:
        raise UserError(f"`curate {command}` is for roots of the graph {VIDEO.name}, and this one's is {GRAPH.name}")


def existing_root(root: str | None) -> "Storage":
    """The root of a command that makes none.

    Raises:
        NotThere: nothing was ever added there.
    """
    from curate_resources.storage import root as roots

    return roots.existing_root(root)

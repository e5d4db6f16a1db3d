"""All commands, and the options before them."""

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from curate_cli.command import USAGE, tell_error, told
from curate_cli.commands.add import add
from curate_cli.commands.backfill import backfill
from curate_cli.commands.calibrate import calibrate
from curate_cli.commands.captions import captions
from curate_cli.commands.clean import clean
from curate_cli.commands.cluster import down, up
from curate_cli.commands.compare import compare
from curate_cli.commands.config import config
from curate_cli.commands.demo import demo
from curate_cli.commands.docs import docs
from curate_cli.commands.doctor import doctor
from curate_cli.commands.duplicates import duplicates
from curate_cli.commands.export import export
from curate_cli.commands.image import image
from curate_cli.commands.materialize import materialize, retry_failed
from curate_cli.commands.metrics import metrics
from curate_cli.commands.models import models
from curate_cli.commands.plan import plan
from curate_cli.commands.preset import preset
from curate_cli.commands.profile import profile
from curate_cli.commands.query import query
from curate_cli.commands.report import report
from curate_cli.commands.sample import sample
from curate_cli.commands.search import search
from curate_cli.commands.select import select
from curate_cli.commands.semdedup import semdedup
from curate_cli.commands.status import status
from curate_cli.commands.ui import ui
from curate_cli.commands.verify import verify

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"curate {version('curate-graph')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Video curation as a Dagster asset graph: buckets of raw video in, training sets out."""


for command in (
    add,
    materialize,
    plan,
    backfill,
    retry_failed,
    status,
    query,
    search,
    report,
    captions,
    verify,
    calibrate,
    select,
    sample,
    semdedup,
    export,
    clean,
    up,
    down,
    doctor,
    demo,
    ui,
    metrics,
    docs,
):
    app.command()(told(command))
app.add_typer(compare, name="compare")
app.add_typer(config, name="config")
app.add_typer(duplicates, name="duplicates")
app.add_typer(image, name="image")
app.add_typer(models, name="models")
app.add_typer(preset, name="preset")
app.add_typer(profile, name="profile")


_UsageError: Any = typer.BadParameter.__bases__[0]
"""What Typer raises of calls that it cannot understand; it exports only this kind of it."""


def run() -> None:
    """Do what the command line says, and end the process with the exit code."""
    try:
        sys.exit(app(standalone_mode=False))
    except _UsageError as error:
        said = error.format_message().replace("Value error, ", "")  # which pydantic says of choices
        if said:  # else it is help, which was printed already
            where = getattr(getattr(error, "ctx", None), "command_path", "curate")
            tell_error("UsageError", f"{said.rstrip('.')}; see `{where} --help`", as_json="--json" in sys.argv)
        sys.exit(USAGE)

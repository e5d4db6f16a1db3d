"""How runs ended, and the exit code that says so."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from curate_cli.command import BUG, FAILED, OK
from curate_cli.log_file import bug_report
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.orchestration.runs import RunOutcome


def print_outcomes(outcomes: Sequence["RunOutcome"], as_json: bool) -> None:
    """How the runs of `curate materialize` ended."""
    if as_json:
        print_document([asdict(result) for result in outcomes])
        return
    console = results()
    for result in outcomes:
        where = f" of {', '.join(result.shards)}" if result.shards else ""
        mark = "[red]failed[/red]" if result.error else "[green]done[/green]"
        console.print(f"{mark} {', '.join(result.assets)}{where}")
        if result.error:
            error = bug_report(result.error) if result.bug else result.error
            console.print(f"  [red]{escaped(error)}[/red]")
        for check in result.failed_checks:
            console.print(f"  [yellow]check failed:[/yellow] {escaped(check)}")
        for check in result.check_warnings:
            console.print(f"  [yellow]check warns:[/yellow] {escaped(check)}")


def exit_code(outcomes: Sequence["RunOutcome"]) -> int:
    """Of a command that made these runs."""
    if any(result.bug for result in outcomes):
        return BUG
    return FAILED if any(result.error or result.failed_checks for result in outcomes) else OK

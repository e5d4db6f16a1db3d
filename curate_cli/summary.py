"""How a command that computed things ends: the funnel, what failed, what was tried again, the time, what to do next."""

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from curate_cli.funnel import print_funnel
from curate_cli.printing import duration, escaped, results

if TYPE_CHECKING:
    from curate_assets.operations.status import Failure
    from curate_assets.orchestration.runs import RunOutcome
    from curate_resources.storage.root import Storage

_SHOWN = 10


class Summary:
    """Made before the runs begin, for what failed before them."""

    def __init__(self, storage: "Storage", assets: frozenset[str], shards: Collection[str]) -> None:
        self._storage, self._assets, self._shards = storage, assets, shards
        self._before = self._failures()
        self._begin = time.monotonic()

    def print(self, outcomes: Sequence["RunOutcome"]) -> None:
        """Tell of the runs."""
        from curate_assets.graphs import GRAPH
        from curate_resources.tables.lance_tables import Tables

        seconds = time.monotonic() - self._begin
        steps = GRAPH.funnel(Tables(self._storage), None) if GRAPH.funnel is not None else []
        failures = self._failures()
        console = results()
        console.print()
        print_funnel(steps, console)
        _print_failures(failures, console)
        if self._before:
            again = len(self._before & failures.keys())
            rest = f"{again} failed again" if again else "all are well now"
            console.print(f"retried: {len(self._before)} that had failed before; {rest}")
        console.print(f"took {duration(seconds)}")
        broken = any(outcome.error or outcome.failed_checks for outcome in outcomes)
        console.print(
            f"next: {_next(broken, bool(failures), any(step.name == 'samples' and step.count for step in steps))}"
        )

    def _failures(self) -> "dict[tuple[str, str, str], Failure]":
        from curate_assets.operations.status import failed_rows

        found = failed_rows(self._storage, self._assets, self._shards)
        return {(each.table, each.shard, each.subject): each for each in found}


def _print_failures(failures: "dict[tuple[str, str, str], Failure]", console: Console) -> None:
    if not failures:
        return
    console.print(f"[yellow]failed: {len(failures)}[/yellow]")
    for each in list(failures.values())[:_SHOWN]:
        console.print(f"  {escaped(each.subject)}, {each.table} of {each.shard}: {escaped(each.message)}")
    if len(failures) > _SHOWN:
        console.print(f"  and {len(failures) - _SHOWN} more: `curate status`")


def _next(broken: bool, failed: bool, samples: bool) -> str:
    if broken:
        return "fix what is reported above and run this again; what was committed is kept"
    if failed:
        return "`curate retry-failed` tries what failed again, once its cause is gone"
    if samples:
        return "`curate report` shows the training set, `curate export --to FILE` packs it"
    return "`curate plan` shows what is still to be made"

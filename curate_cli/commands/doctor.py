"""`curate doctor`: checks of this machine and the root, or of the namespace that runs are made in."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import FAILED, OK, Json, Root
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.doctor.check import Line

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(
    network: Annotated[bool, typer.Option("--network", help="Also ask model hubs and model servers.")] = False,
    deployment: Annotated[
        bool, typer.Option("--deployment", help="Check the Kubernetes namespace of `cluster.mode: kuberay` instead.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="With --deployment, what a RayJob finds there: it starts pods and machines.")
    ] = False,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Check this machine and the root: one line per check, with a remedy for what is not ok. Nothing is changed."""
    from curate_assets.doctor import CHECKS, DEPLOYMENT_CHECKS, PROBES
    from curate_assets.doctor.check import Deployment, examined
    from curate_resources.storage.root import Storage, root_uri

    checks = CHECKS
    if deployment or probe:
        checks = (*DEPLOYMENT_CHECKS, *(PROBES if probe else ()))
    lines = _print_examined(examined(checks, Deployment(Storage(root_uri(root)), network)), as_json)
    return FAILED if any(line.finding.status == "failed" for line in lines) else OK


def _print_examined(lines: "Iterable[Line]", as_json: bool) -> "list[Line]":
    """What `curate doctor` finds, line by line as it comes; returns all of it."""
    console = results(quiet=as_json)
    seen: list[Line] = []
    for line in lines:
        seen.append(line)
        finding, colour = line.finding, _COLOURS[line.finding.status]
        console.print(
            f"[{colour}]{finding.status:<8}[/{colour}][bold]{line.name}[/bold]: {escaped(finding.found)}",
            soft_wrap=True,
        )
        if finding.remedy:
            console.print(f"        [dim]remedy:[/dim] {escaped(finding.remedy)}", soft_wrap=True)
    counts = {status: sum(line.finding.status == status for line in seen) for status in _COLOURS}
    if as_json:
        checks = [{"name": line.name, **asdict(line.finding), "seconds": round(line.seconds, 3)} for line in seen]
        print_document({**counts, "checks": checks})
    else:
        console.print(", ".join(f"{number} {status}" for status, number in counts.items()))
    return seen

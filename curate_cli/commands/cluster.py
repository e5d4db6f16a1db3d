"""`curate up` and `curate down`: a Ray cluster on this machine that runs share."""

from typing import Annotated

import typer

from curate_cli.command import OK, Json
from curate_cli.printing import print_document, results


def up(
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs of the cluster. Default: all.")] = None,
    as_json: Json = False,
) -> int:
    """Start a Ray cluster on this machine that runs share: each then starts in seconds. `curate down` ends it."""
    from curate_resources.engines.warm_cluster import start_warm_cluster

    cluster, new = start_warm_cluster(cpus)
    _print_cluster(cluster.address, "started" if new else "running already", as_json)
    return OK


def down(as_json: Json = False) -> int:
    """End the cluster that `curate up` started."""
    from curate_resources.engines.warm_cluster import stop_warm_cluster

    _print_cluster(None, "ended" if stop_warm_cluster() else "there was none", as_json)
    return OK


def _print_cluster(address: str | None, state: str, as_json: bool) -> None:
    """How the warm cluster stands."""
    if as_json:
        print_document({"address": address, "state": state})
        return
    results().print(f"cluster {address}: {state}" if address else f"cluster: {state}")

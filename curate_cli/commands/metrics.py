"""`curate metrics`: the metrics of a root, once or for a scraper."""

import time
from typing import Annotated

import typer

from curate_cli.command import OK, Root, existing_root
from curate_cli.printing import escaped, results


def metrics(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve them at this port. Default: print them once.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    every_seconds: Annotated[float, typer.Option(min=1, help="Read the root anew after so long.")] = 60.0,
    root: Root = None,
) -> int:
    """Show what a root holds as metrics of Prometheus: shards by state, rows, all that was ever computed."""
    from curate_assets.operations.platform_metrics import PlatformMetrics
    from curate_resources.engines import interruption
    from curate_resources.telemetry.extras import needed
    from curate_resources.telemetry.metrics import registry_of
    from gpu_kernels.errors import OperatingError

    needed("prometheus_client", "curate metrics", "pip install 'curate-graph[observability]'")
    from prometheus_client import generate_latest, start_http_server

    storage = existing_root(root)
    registry = registry_of(PlatformMetrics(storage, every_seconds))
    if port is None:
        print(generate_latest(registry).decode(), end="")
        return OK
    interruption.expect()
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise OperatingError(f"nothing can listen on {host}:{port}: {error.strerror}") from error
    console = results()
    console.print(f"http://{host}:{port}/metrics shows {escaped(storage.root)}; Ctrl-C ends it", soft_wrap=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        server.shutdown()
        console.print("ended")
    return OK

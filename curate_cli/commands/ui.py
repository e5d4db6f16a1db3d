"""`curate ui`: Dagster's web server and daemon for a root, until Ctrl-C."""

import fcntl
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console

from curate_cli.command import OK, Root, existing_root
from curate_cli.printing import escaped, results
from gpu_kernels.errors import UserError

_PORT, _PORTS = 3000, 100


def ui(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 3000, else the next free one.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anyone who reaches it can start runs.")
    ] = "127.0.0.1",
    warm: Annotated[bool, typer.Option("--warm", help="With the Ray cluster of `curate up`, until the end.")] = False,
    root: Root = None,
) -> int:
    """Show the root in Dagster's UI, with the daemon that runs backfills, sensors and schedules. Ctrl-C ends both."""
    from curate_assets.orchestration.dagster_services import dagster_services
    from curate_assets.orchestration.runs import dagster_instance, register_shards
    from curate_resources.engines import interruption
    from curate_resources.engines.warm_cluster import start_warm_cluster, stop_warm_cluster
    from curate_resources.sources.manifests import Manifests

    storage = existing_root(root)
    console = results()
    interruption.expect()
    with dagster_instance(storage.root) as instance:
        register_shards(instance, Manifests(storage).shards())
        home = Path(instance.root_directory)
    try:
        with ExitStack() as stack:
            lock = stack.enter_context(_only_one(home))
            chosen = _chosen_port(host, port, console)
            if warm and start_warm_cluster()[1]:
                stack.callback(stop_warm_cluster)
            console.print("starting Dagster")
            log = home / "ui.log"
            services = stack.enter_context(dagster_services(str(home), storage.root, host, chosen, log))
            lock.write(services.url)
            lock.flush()
            console.print(f"[bold]{services.url}[/bold] shows {escaped(storage.root)}; Ctrl-C ends it", soft_wrap=True)
            while True:
                services.check()
                time.sleep(1)
    except KeyboardInterrupt:
        console.print("ended")
    return OK


@contextmanager
def _only_one(home: Path) -> Generator[IO[str]]:
    """A file that one process holds at a time, with the URL in it."""
    with (home / "ui.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(f"`curate ui` runs already for {home}: {lock.read() or 'it is starting'}") from None
        lock.truncate(0)
        yield lock


def _chosen_port(host: str, port: int | None, console: Console) -> int:
    from curate_assets.orchestration.dagster_services import free_port

    if free_port(host, [0]) is None:
        raise UserError(f"cannot listen on {host}: it is no address of this machine; choose another with --host")
    if port is not None:
        if free_port(host, [port]) is None:
            raise UserError(f"cannot listen on port {port} of {host}: it is in use; choose another with --port")
        return port
    found = free_port(host, range(_PORT, _PORT + _PORTS))
    if found is None:
        raise UserError(f"no port from {_PORT} to {_PORT + _PORTS - 1} of {host} is free: choose one with --port")
    if found != _PORT:
        console.print(f"port {_PORT} is in use, so this is on {found}")
    return found

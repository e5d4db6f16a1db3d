"""`curate profile`: the profiles that runs were asked for."""

import json
import tempfile
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate_cli.command import OK, Json, Root, existing_root, told
from curate_cli.printing import escaped, print_document, print_nothing, results

if TYPE_CHECKING:
    from curate_resources.storage.root import Storage

profile = typer.Typer(no_args_is_help=True, help="Profiles of stages: `curate materialize --profile` takes them.")

_VIEWER = "https://ui.perfetto.dev"
_VIEWER_PORT = 9001
"""Of all ports of this machine, the only one that the viewer reads traces from."""


def list_profiles(root: Root = None, as_json: Json = False) -> int:
    """The profiles under the root, by run, the newest last."""
    storage = existing_root(root)
    found = {run: _files(storage, run) for run in _runs(storage)}
    if as_json:
        print_document(found)
        return OK
    if not found:
        print_nothing("no run was profiled: `curate materialize --profile cpu` takes a profile", as_json)
        return OK
    for run, files in found.items():
        results().print(run)
        for file in files:
            results().print(f"  {escaped(file)}", soft_wrap=True)
    return OK


def open_profile(
    run: Annotated[str | None, typer.Argument(help="A run. Default: the one that was profiled last.")] = None,
    kind: Annotated[str | None, typer.Option(help="cpu, memory, gpu, events. Default: the first there is.")] = None,
    stage: Annotated[str | None, typer.Option(help="Of one stage. Default: of all.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Show it, or only say where it is.")] = True,
    root: Root = None,
) -> int:
    """Open a profile: pages of cpu and memory in the browser, traces of events and gpu in Perfetto's viewer.

    The viewer is a page of the internet that reads the trace from this machine, and sends it nowhere.
    """
    from curate_resources.telemetry.profiling import KINDS
    from gpu_kernels.errors import UserError

    storage = existing_root(root)
    runs = _runs(storage)
    if not runs or run not in (None, *runs):
        which = f"run {run} was not profiled" if runs else "no run was profiled"
        raise UserError(f"{which} under {storage.root}: `curate materialize --profile cpu` takes a profile")
    chosen = run or runs[-1]
    files = [file for file in _files(storage, chosen) if stage is None or file.startswith(f"{stage}-")]
    if kind not in (None, *KINDS):
        raise UserError(f"there is no profile {kind!r}: {', '.join(KINDS)}")
    for each in [kind] if kind is not None else KINDS:
        own = [file for file in files if file.endswith(f".{KINDS[each]}")]
        if own:
            contents = {file: storage.read(f"profiles/{chosen}/{file}") for file in own}
            _show(each, contents, browser)
            return OK
    asked = " ".join(filter(None, (kind, f"of {stage}" if stage else None))) or "that can be shown"
    raise UserError(f"run {chosen} has no profile {asked}; it has {', '.join(files) or 'others'}")


def _show(kind: str, contents: dict[str, bytes], browser: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="curate-profile-"))
    if kind == "events":
        _trace(folder / "events.json", _merged(list(contents.values())), browser)
        return
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        if kind == "gpu":
            _trace(path, content, browser)
            continue
        page = _memory_page(path) if kind == "memory" else path
        results().print(escaped(str(page)), soft_wrap=True)
        if browser:
            webbrowser.open(page.as_uri())


def _merged(traces: list[bytes]) -> bytes:
    """The traces of several processes as one."""
    events = [event for trace in traces for event in json.loads(trace)["traceEvents"]]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}).encode()


def _memory_page(path: Path) -> Path:
    from curate_resources.telemetry.extras import needed

    needed("memray", "curate profile open --kind memory", "pip install 'curate-graph[profiling]'")
    from memray.commands import main  # which has no other door to its pages

    page = path.with_suffix(".html")
    main(["flamegraph", "--force", "--output", str(page), str(path)])
    return page


def _trace(path: Path, content: bytes, browser: bool) -> None:
    path.write_bytes(content)
    results().print(escaped(str(path)), soft_wrap=True)
    if browser:
        _serve_once(path.name, content)


def _serve_once(name: str, content: bytes) -> None:
    """Give the viewer a trace, and wait until it has it."""
    taken: list[bool] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", _VIEWER)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            taken.append(True)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", _VIEWER_PORT), Handler) as server:
        url = f"{_VIEWER}/#!/?url=http://127.0.0.1:{_VIEWER_PORT}/{name}"
        results().print(f"{url} reads it from here; Ctrl-C ends waiting for it", soft_wrap=True)
        webbrowser.open(url)
        while not taken:
            server.handle_request()


def _runs(storage: "Storage") -> list[str]:
    """Runs with profiles, in the order in which these were written."""
    from curate_resources.telemetry.profiling import FOLDER

    newest: dict[str, float] = {}
    for file in storage.walk(FOLDER):
        run = file.path.removeprefix(f"{FOLDER}/").split("/")[0]
        newest[run] = max(newest.get(run, 0), file.modified)
    return sorted(newest, key=lambda run: newest[run])


def _files(storage: "Storage", run: str) -> list[str]:
    from curate_resources.telemetry.profiling import FOLDER

    return storage.files(f"{FOLDER}/{run}")


profile.command("list")(told(list_profiles))
profile.command("open")(told(open_profile))

"""`curate models`: which models there are, fetching them to this machine, checking them, and filling a mirror."""

from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import FAILED, OK, Json, Root, told
from curate_cli.printing import escaped, print_document, print_nothing, results

if TYPE_CHECKING:
    from curate_resources.storage.root import Storage
    from gpu_kernels.models.registry import Model

models = typer.Typer(no_args_is_help=True, help="List, download, verify and upload the models of this machine.")

_Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="A hub's owner/name, or a name that `list` shows. Default: all.")
]
_Revision = Annotated[str | None, typer.Option(help="Commit, branch or tag of a hub; digits of the content otherwise.")]


def list_models(root: Root = None, as_json: Json = False) -> int:
    """List the models that are registered, named by the configuration, here or on the mirror; presets; embedders."""
    from rich.table import Table

    from curate_assets.operations.models import known_models

    found = known_models(_storage(root))
    if as_json:
        print_document([each.document() for each in found])
        return OK
    table = Table("model", "revision", "state", "used by", "size", "GiB loaded", "licence", "gate", "environment")
    for each in found:
        if each.preset is not None or each.embedder is not None:
            continue
        model = each.model
        cells = [each.name, each.revision[:12], each.state, ", ".join(each.used_by)]
        cells += (
            [_size(model.bytes), "" if model.memory_gib is None else f"{model.memory_gib:g}"] if model else ["", ""]
        )
        cells += [model.licence, model.gate or "", model.environment or ""] if model else ["", "", ""]
        table.add_row(*map(escaped, cells))
    results().print(table)
    presets = Table(
        "captions.preset", "model", "commit", "backends", "environment", "GPUs", "GiB", "frames/s", "licence", "gate"
    )
    for preset in [each.preset for each in found if each.preset is not None]:
        commit = "" if preset.commit_begins is None else f"{preset.commit_begins}..."
        cells = [preset.name, preset.model, commit, ", ".join(preset.backends), preset.environment or ""]
        cells += [str(preset.gpus), "" if preset.memory_gib is None else f"{preset.memory_gib:.0f}"]
        cells += [f"{preset.frames_per_second:g}", preset.licence, preset.gate or ""]
        presets.add_row(*map(escaped, cells))
    results().print(presets)
    embedders = Table("embedder", "commit", "backend", "frames", "pixels", "numbers", "text side", "licence", "gate")
    for known in [each.embedder for each in found if each.embedder is not None]:
        commit = "" if known.commit_begins is None else f"{known.commit_begins}..."
        cells = [known.model, commit, known.backend, "each" if known.frames is None else str(known.frames)]
        cells += [str(known.side), str(known.dimension), "yes" if known.words else "no"]
        embedders.add_row(*map(escaped, [*cells, known.licence, known.gate or ""]))
    results().print(embedders)
    return OK


def download(
    name: _Name = None,
    revision: _Revision = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Folder or bucket with the model. Default: models.mirror, else the hub."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch what is there already, too.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Fetch a model to this machine and check its files; without a name, all that the configuration names."""
    from curate_assets.operations.models import downloaded

    got = downloaded(_storage(root), name, revision, source, again)
    if not got:
        print_nothing("The configuration names no model that would have to be fetched.", as_json)
    elif as_json:
        print_document([{"model": model.model_dump(mode="json"), "fetched": new} for model, new in got])
    else:
        for model, new in got:
            state = "fetched" if new else "was here already"
            results().print(f"{escaped(_named(model))}: {state}, {len(model.files)} files, {_size(model.bytes)}")
    return OK


def verify(name: _Name = None, revision: _Revision = None, root: Root = None, as_json: Json = False) -> int:
    """Read the files of models on this machine again and compare their SHA-256. Exit code 1: some are not the same."""
    from curate_assets.operations.models import verified

    found = verified(_storage(root), name, revision)
    if as_json:
        print_document([{"name": m.name, "revision": m.revision, "wrong": wrong} for m, wrong in found])
    else:
        for model, wrong in found:
            said = (
                f"[red]{escaped('; '.join(wrong))}[/red]"
                if wrong
                else f"{len(model.files)} files are as they should be"
            )
            results().print(f"{escaped(_named(model))}: {said}")
    return FAILED if any(wrong for _, wrong in found) else OK


def upload(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of this machine.")],
    to: Annotated[str | None, typer.Option("--to", help="Folder or bucket. Default: models.mirror.")] = None,
    revision: _Revision = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Copy a model of this machine into a folder or bucket, which other machines fetch it from as `models.mirror`."""
    from curate_assets.operations.models import uploaded

    model, target, new = uploaded(_storage(root), name, revision, to)
    if as_json:
        print_document({"name": model.name, "revision": model.revision, "to": target, "uploaded": new})
    else:
        results().print(f"{escaped(_named(model))}: {'copied to' if new else 'was already in'} {escaped(target)}")
    return OK


def _storage(root: str | None) -> "Storage":
    from curate_resources.storage.root import Storage, root_uri

    return Storage(root_uri(root))


def _named(model: "Model") -> str:
    return f"{model.name} at {model.revision}"


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


for command, title in ((list_models, "list"), (download, "download"), (verify, "verify"), (upload, "upload")):
    models.command(title)(told(command))

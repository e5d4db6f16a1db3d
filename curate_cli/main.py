"""The `curate` command: add videos, materialize assets, look at what came out."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from curate_assets.config import ConfigError
from curate_cli import present
from curate_resources.jobs import ClusterUnreachable, JobFailed
from curate_resources.manifests import ManifestError, Manifests, shard_name
from curate_resources.plan import LostUnits, MissingInput, Mode
from curate_resources.pools import PlanDoesNotFit
from curate_resources.storage import Storage, root_uri
from curate_resources.stored_object import StorageUnavailable
from curate_resources.warm_cluster import ClusterDidNotStart

app = typer.Typer(
    help="Video curation as a Dagster asset graph: buckets of raw video in, training sets out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

OK, FAILED, USAGE = 0, 1, 2
"""Exit codes: all well; something failed or is missing; the call, the configuration or the query is wrong."""

Root = Annotated[str | None, typer.Option(help="Root URI. Default: CURATE_ROOT, else ./curate-data.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

_SHARDS = (
    "A shard, a range such as a-000000..a-000004, or a pattern such as 'a-*'; may be repeated. Default: all shards."
)

_USAGE_ERRORS = (ConfigError, ManifestError, MissingInput, FileNotFoundError, ValueError)

_FAILURES = (
    LostUnits,
    JobFailed,
    ClusterUnreachable,
    PlanDoesNotFit,
    ClusterDidNotStart,
    StorageUnavailable,
)


def _told(command: Callable[..., int]) -> Callable[..., None]:
    """Errors that a user can mend become one line on standard error and an exit code."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        from curate_assets.backfills import NoDaemon, UnknownBackfill
        from curate_assets.query import QueryError
        from curate_assets.runs import UnknownAsset

        try:
            code = command(*arguments, **options)
        except (*_USAGE_ERRORS, QueryError, UnknownAsset, UnknownBackfill) as error:
            _fail(error, bool(options.get("as_json")))
            code = USAGE
        except (*_FAILURES, NoDaemon) as error:
            _fail(error, bool(options.get("as_json")))
            code = FAILED
        raise typer.Exit(code)

    return run


def _fail(error: Exception, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}))
    else:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {present.escaped(str(error))}")


@app.command()
@_told
def add(
    source: Annotated[
        str, typer.Argument(help="A folder, a file, a ZIP of videos, or a URI such as s3://bucket/prefix.")
    ],
    name: Annotated[
        str | None, typer.Option(help="First part of the shards' names. Default: the folder's name.")
    ] = None,
    videos_per_shard: Annotated[int, typer.Option(min=1, help="Most videos in a shard.")] = 100,
    gib_per_shard: Annotated[float, typer.Option(min=0.001, help="Most GiB in a shard.")] = 50.0,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Put videos into shards and register these as partitions. Again: adds only what is new or changed."""
    from curate_assets.runs import dagster_instance, register_shards

    storage = Storage(root_uri(root))
    manifests = Manifests(storage)
    added = manifests.add(source, shard_name(name or source), videos_per_shard, int(gib_per_shard * (1 << 30)))
    with dagster_instance(storage.root) as instance:
        register_shards(instance, manifests.shards())
    present.added(added, storage.root, as_json)
    return OK


@app.command()
@_told
def materialize(
    select: Annotated[str, typer.Option(help="Assets, in Dagster's selection syntax: clips, clips+, '*'.")] = "*",
    shard: Annotated[list[str] | None, typer.Option(help=_SHARDS)] = None,
    force: Annotated[bool, typer.Option(help="Compute every row, whatever its fingerprint says.")] = False,
    mode: Annotated[
        Mode | None, typer.Option(help="batch: stage after stage. streaming: all at once. Default: engine.mode.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML with settings that go before <root>/curate.yaml.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Materialize assets in this process, with live progress. What Dagster's own command does, with less start-up."""
    from curate_assets.config import resolve_config
    from curate_assets.runs import selected

    storage = Storage(root_uri(root))
    given = _given(config)
    if mode is not None:
        given["engine"] = {**given.get("engine", {}), "mode": mode}
    resolve_config(storage, given)  # for its errors, before anything starts
    shards = _chosen_shards(Manifests(storage), shard)
    return _run(storage, selected(select), shards, {"force": force, **given}, as_json)


@app.command()
@_told
def plan(
    select: Annotated[str, typer.Option(help="Assets, in Dagster's selection syntax: clips, clips+, '*'.")] = "*",
    shard: Annotated[list[str] | None, typer.Option(help=_SHARDS)] = None,
    force: Annotated[bool, typer.Option(help="As if every row were to be computed.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML with settings that go before <root>/curate.yaml.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Show what would be computed, why, and about how long it would take. Nothing is written, and nothing starts."""
    from curate_assets.config import resolve_config
    from curate_assets.outlook import outlook
    from curate_assets.runs import selected

    storage = Storage(root_uri(root))
    settings = resolve_config(storage, _given(config))
    shards = _chosen_shards(Manifests(storage), shard)
    ahead = outlook(storage, settings, selected(select), shards, force)
    present.ahead(ahead, as_json)
    return FAILED if any(asset.blocked for asset in ahead.assets) else OK


@app.command()
@_told
def backfill(
    select: Annotated[str, typer.Option(help="Assets, in Dagster's selection syntax: clips, clips+, '*'.")] = "*",
    shard: Annotated[list[str] | None, typer.Option(help=_SHARDS)] = None,
    failed: Annotated[bool, typer.Option(help="Shards with failed rows, and what could not be made of them.")] = False,
    missing: Annotated[bool, typer.Option(help="Shards with rows that are not there yet.")] = False,
    stale: Annotated[bool, typer.Option(help="Shards with rows that do not hold any more.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML with settings that go before <root>/curate.yaml.")] = None,
    here: Annotated[bool, typer.Option(help="Run in this process, without Dagster's daemon.")] = False,
    watch: Annotated[bool, typer.Option(help="Show the progress of every shard until the end.")] = False,
    status_of: Annotated[str | None, typer.Option("--status", metavar="ID", help="Show how far one is.")] = None,
    cancel: Annotated[str | None, typer.Option(metavar="ID", help="End one; committed shards stay.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Make what `curate plan` says is missing or stale, as a backfill of Dagster. Only shards that need it are made.

    With --failed, --missing or --stale: only those that they name. With --status or --cancel: see to one that there is.
    """
    from curate_assets.backfills import Targets, cancel_backfill, launch_backfill, progress_of
    from curate_assets.config import resolve_config
    from curate_assets.outlook import outlook
    from curate_assets.runs import dagster_instance, register_shards, run_targets, selected

    storage = Storage(root_uri(root))
    if (known := cancel or status_of) is not None:
        with dagster_instance(storage.root) as instance:
            if cancel is not None:
                cancel_backfill(instance, cancel)
            return _watched(instance, known, as_json) if watch else _shown(progress_of(instance, known), as_json)
    given = _given(config)
    settings = resolve_config(storage, given)
    shards = _chosen_shards(Manifests(storage), shard)
    ahead = outlook(storage, settings, selected(select), shards)
    targets: Targets = ahead.targets(
        missing=missing or not (failed or stale), stale=stale or not (failed or missing), failed=failed
    )
    if not targets:
        present.nothing("nothing is missing or stale" if not failed else "there is nothing of that kind", as_json)
        return OK
    curation = {"root": storage.root, **given}
    with dagster_instance(storage.root) as instance:
        register_shards(instance, Manifests(storage).shards())
        if here:
            with present.live_progress(storage.root, as_json):
                outcomes = list(run_targets(instance, targets, curation))
            present.outcomes(outcomes, as_json)
            return FAILED if any(outcome.error or outcome.failed_checks for outcome in outcomes) else OK
        launched = launch_backfill(instance, targets, curation, f"{select} of {len(shards)} shards")
        return _watched(instance, launched, as_json) if watch else _shown(progress_of(instance, launched), as_json)


def _watched(instance: Any, backfill_id: str, as_json: bool) -> int:
    from curate_assets.backfills import followed

    *_, last = present.backfill_bars(followed(instance, backfill_id), as_json)
    return _shown(last, as_json)


def _shown(progress: Any, as_json: bool) -> int:
    present.backfill(progress, as_json)
    return FAILED if progress.ended and not progress.succeeded else OK


@app.command("retry-failed")
@_told
def retry_failed(
    select: Annotated[str, typer.Option(help="Assets whose failed rows are tried again.")] = "*",
    shard: Annotated[list[str] | None, typer.Option(help=_SHARDS)] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Compute failed rows again, and what could not be made because of them; all other rows stay as they are."""
    from curate_assets.config import resolve_config
    from curate_assets.runs import selected
    from curate_assets.status import failed_shards

    storage = Storage(root_uri(root))
    resolve_config(storage, {})
    shards = _chosen_shards(Manifests(storage), shard)
    wanted = selected(select)
    affected = [each for each in failed_shards(storage, wanted) if each in shards]
    if not affected:
        present.nothing("no row of these assets failed", as_json)
        return OK
    return _run(storage, wanted, affected, {"failed_only": True}, as_json)


@app.command()
@_told
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    older_than_hours: Annotated[
        float, typer.Option(min=0, help="Leave younger files: a run that is under way writes files before their rows.")
    ] = 24.0,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Remove media files that no row points at, and old versions of tables: of killed runs, or of earlier settings.

    With --older-than-hours 0 nothing may run at the same time.
    """
    from curate_assets.video.stages import TABLES
    from curate_resources.orphans import forget_versions, orphans

    storage = Storage(root_uri(root))
    found = sorted(orphans(storage, TABLES, older_than_hours * 3600), key=lambda orphan: orphan.path)
    if not dry_run:
        for orphan in found:
            storage.delete(orphan.path)
    freed = 0 if dry_run else forget_versions(storage, older_than_hours * 3600)
    present.cleaned(found, freed, dry_run, as_json)
    return OK


@app.command()
@_told
def up(
    cpus: Annotated[int | None, typer.Option(min=1, help="CPUs of the cluster. Default: all.")] = None,
    as_json: Json = False,
) -> int:
    """Start a Ray cluster on this machine that runs share: each then starts in seconds. `curate down` ends it."""
    from curate_resources.warm_cluster import start_warm_cluster

    cluster, new = start_warm_cluster(cpus)
    present.cluster(cluster.address, "started" if new else "running already", as_json)
    return OK


@app.command()
@_told
def down(as_json: Json = False) -> int:
    """End the cluster that `curate up` started."""
    from curate_resources.warm_cluster import stop_warm_cluster

    present.cluster(None, "ended" if stop_warm_cluster() else "there was none", as_json)
    return OK


def _given(config: Path | None) -> dict[str, Any]:
    from curate_assets.config import parse_config

    return parse_config(config.read_text(), str(config)) if config else {}


def _chosen_shards(manifests: Manifests, chosen: list[str] | None) -> list[str]:
    if not manifests.shards():
        raise ManifestError(f"there are no shards under {manifests.storage.root}: `curate add <folder>` makes them")
    return manifests.matching(chosen) if chosen else manifests.shards()


def _run(storage: Storage, wanted: frozenset[str], shards: list[str], curation: dict[str, Any], as_json: bool) -> int:
    from curate_assets.runs import dagster_instance, register_shards, run_assets

    with dagster_instance(storage.root) as instance, present.live_progress(storage.root, as_json):
        register_shards(instance, Manifests(storage).shards())
        outcomes = list(run_assets(instance, wanted, shards, {"root": storage.root, **curation}))
    present.outcomes(outcomes, as_json)
    return FAILED if any(outcome.error or outcome.failed_checks for outcome in outcomes) else OK


@app.command()
@_told
def status(root: Root = None, as_json: Json = False) -> int:
    """The funnel from files to samples, and what is missing or failed."""
    from curate_assets.status import status_of

    state = status_of(Storage(root_uri(root)))
    present.status(state, as_json)
    return OK


@app.command()
@_told
def query(
    sql: Annotated[str, typer.Argument(help="SQL over the tables, named as the assets; DuckDB's dialect.")],
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Run SQL over the tables."""
    from curate_assets.query import run_query

    present.rows(run_query(Storage(root_uri(root)), sql), as_json)
    return OK


@app.command()
@_told
def report(
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Write the report of the dataset as it stands, and open it."""
    from curate_assets.config import resolve_config
    from curate_assets.video.report_file import write_report
    from curate_resources.tables import Tables

    storage = Storage(root_uri(root))
    written = write_report(Tables(storage), resolve_config(storage))
    present.report(written.uri, show and not as_json, as_json)
    return OK


@app.command()
@_told
def export(
    to: Annotated[str, typer.Option(help="A file, a URI such as s3://bucket/set.zip, or a URL presigned for PUT.")],
    shard: Annotated[list[str] | None, typer.Option(help=_SHARDS)] = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Write the training set and its tables as one ZIP, whole or not at all; the same set gives the same bytes."""
    from curate_assets.config import resolve_config
    from curate_assets.video.export import export_dataset
    from curate_resources.tables import Tables

    storage = Storage(root_uri(root))
    shards = frozenset(_chosen_shards(Manifests(storage), shard)) if shard else None
    version = resolve_config(storage).training_dataset.version
    present.exported(export_dataset(Tables(storage), version, to, shards), as_json)
    return OK


@app.command()
@_told
def calibrate(
    score: Annotated[
        list[str] | None,
        typer.Option(help="A score, such as motion_global_mean; may be repeated. Default: those with a threshold."),
    ] = None,
    percentile: Annotated[
        float, typer.Option(min=0, max=50, help="Percent of the sampled clips that each threshold is to reject.")
    ] = 5.0,
    sample: Annotated[int, typer.Option(min=1, help="Most clips to look at; drawn by their ids.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another number draws another sample.")] = 0,
    write: Annotated[
        bool, typer.Option("--write/--dry-run", help="Set the thresholds in <root>/curate.yaml, or only show them.")
    ] = False,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Propose thresholds from percentiles of the scores, with a page of the clips on both sides of each."""
    from curate_assets.config import resolve_config
    from curate_assets.config_file import write_settings
    from curate_assets.video.calibration import SECTION
    from curate_assets.video.calibration import calibrate as calibrated
    from curate_assets.video.report_file import write_calibration
    from curate_resources.tables import Tables

    storage = Storage(root_uri(root))
    tables = Tables(storage)
    found = calibrated(tables, resolve_config(storage), score or [], sample, percentile, seed)
    page = write_calibration(tables, found)
    written = write_settings(storage, SECTION, found.settings) if write else None
    present.calibration(found, page, written, show and not as_json, as_json)
    return OK


@app.command()
@_told
def doctor(
    network: Annotated[bool, typer.Option("--network", help="Also ask model hubs and model servers.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Check this machine and the root: one line per check, with a remedy for what is not ok. Nothing is changed."""
    from curate_assets.doctor import CHECKS
    from curate_assets.doctor.check import Deployment, examined

    lines = present.examined(examined(CHECKS, Deployment(Storage(root_uri(root)), network)), as_json)
    return FAILED if any(line.finding.status == "failed" for line in lines) else OK


@app.command()
@_told
def demo(
    root: Annotated[str, typer.Option(help="Where the demo's videos and everything made of them go.")] = "./demo-data",
    as_json: Json = False,
) -> int:
    """Make a small library of real footage and curate it, from files to a training set."""
    from curate_cli.demo import run_demo

    return run_demo(Path(root).resolve(), as_json)


def main() -> None:
    """The command's entry point."""
    app()


if __name__ == "__main__":
    sys.exit(app())

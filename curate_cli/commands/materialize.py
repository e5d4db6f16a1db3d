"""`curate materialize` and `curate retry-failed`: runs in this process."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from curate_cli.command import OK, ConfigFile, Json, Root, Select, Shards, existing_root, given_settings
from curate_cli.outcomes import exit_code, print_outcomes
from curate_cli.printing import print_nothing
from curate_cli.progress import live_progress
from curate_cli.summary import Summary

if TYPE_CHECKING:
    from curate_resources.storage.root import Storage


def materialize(
    select: Select = "*",
    shard: Shards = None,
    force: Annotated[bool, typer.Option(help="Compute every row, whatever its fingerprint says.")] = False,
    mode: Annotated[
        Literal["auto", "streaming", "batch"] | None,
        typer.Option(help="batch: stage after stage. streaming: all at once. Default: engine.mode."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="cpu, memory, gpu, events, or of one stage as in cpu:embed; `curate profile` shows them."),
    ] = None,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Materialize assets in this process, with live progress. What Dagster's own command does, with less start-up."""
    from curate_assets.orchestration.asset_selection import selected
    from curate_assets.settings.resolve import resolve_config
    from curate_resources.sources.manifests import Manifests

    storage = existing_root(root)
    given = given_settings(config)
    engine = {name: value for name, value in (("mode", mode), ("profile", profile)) if value is not None}
    if engine:
        given["engine"] = {**given.get("engine", {}), **engine}
    resolve_config(storage, given)  # for its errors, before anything starts
    shards = Manifests(storage).chosen(shard)
    return _run(storage, selected(select), shards, {"force": force, **given}, as_json)


def retry_failed(
    select: Annotated[str, typer.Option(help="Assets whose failed rows are tried again.")] = "*",
    shard: Shards = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Compute failed rows again, and what could not be made because of them; all other rows stay as they are."""
    from curate_assets.operations.status import failed_shards
    from curate_assets.orchestration.asset_selection import selected
    from curate_assets.settings.resolve import resolve_config
    from curate_resources.sources.manifests import Manifests

    storage = existing_root(root)
    resolve_config(storage, {})
    shards = Manifests(storage).chosen(shard)
    wanted = selected(select)
    affected = [each for each in failed_shards(storage, wanted) if each in shards]
    if not affected:
        print_nothing("no row of these assets failed", as_json)
        return OK
    return _run(storage, wanted, affected, {"failed_only": True}, as_json)


def _run(storage: "Storage", wanted: frozenset[str], shards: list[str], curation: dict[str, Any], as_json: bool) -> int:
    from curate_assets.orchestration.runs import dagster_instance, register_shards, run_assets
    from curate_resources.sources.manifests import Manifests

    summary = None if as_json else Summary(storage, wanted, shards)
    with dagster_instance(storage.root) as instance, live_progress(as_json):
        register_shards(instance, Manifests(storage).shards())
        outcomes = list(run_assets(instance, wanted, shards, {"root": storage.root, **curation}))
    print_outcomes(outcomes, as_json)
    if summary is not None:
        summary.print(outcomes)
    return exit_code(outcomes)

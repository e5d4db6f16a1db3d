"""`curate verify`: whether stored captions are of their own windows, by asking about some of them again."""

from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import FAILED, OK, ConfigFile, Json, Root, Shards, existing_root, given_settings, of_video_graph
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curate_assets.video.asked_again import AskedAgain


def verify(
    table: Annotated[str, typer.Argument(help="captions, refined_captions, enhanced_captions or a variant of one.")],
    sample: Annotated[int, typer.Option(min=1, help="Most clips to ask about; drawn by their ids.")] = 20,
    seed: Annotated[int, typer.Option(help="Another number draws another sample.")] = 0,
    shard: Shards = None,
    config: ConfigFile = None,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Ask the model again about some clips, and tell which stored captions look like those of another window."""
    from curate_assets.graphs import GRAPH
    from curate_assets.orchestration.engines import engine_of
    from curate_assets.settings.presets import ShardSettings
    from curate_assets.video.asked_again import ask_again
    from curate_assets.video.caption_rows import caption_tables
    from curate_resources.sources.manifests import Manifests
    from curate_resources.suggestions import did_you_mean
    from curate_resources.tables.lance_tables import Tables
    from gpu_kernels.errors import NotThere

    of_video_graph("verify")
    storage, known = existing_root(root), caption_tables(GRAPH.tables.values())
    if table not in known:
        meant = did_you_mean(table, known) or f": there are {', '.join(known)}"
        raise NotThere(f"there is no table of captions {table!r}{meant}")
    manifests = Manifests(storage)
    shards = manifests.matching(shard) if shard else manifests.shards()
    alike, wrong = ShardSettings.read(storage, given_settings(config)).alike(shards)
    if wrong:
        raise wrong[0]
    windows = ask_again(GRAPH, known[table], Tables(storage), alike, engine_of, sample, seed)
    return _told(windows, as_json)


def _told(windows: "Sequence[AskedAgain]", as_json: bool) -> int:
    """Say what was found. It failed where a caption looks like another's, or nothing was answered."""
    from curate_assets.video.asked_again import counted

    counts = counted(windows)
    code = FAILED if counts["another"] or counts["no answer"] == len(windows) else OK
    if as_json:
        print_document({"windows": [each.document() for each in windows], "counts": counts})
        return code
    console = results()
    for each in windows:
        where = f"{each.clip_id} from frame {each.start_frame}"
        if each.verdict == "another":
            said = f"[red]{escaped(where)}: asked again, the answer is nearer to the caption of {each.nearest}[/red]"
            console.print(f"{said} ({each.others:.2f}) than to its own ({each.own:.2f})", soft_wrap=True)
            console.print(f"  stored: {escaped(each.text)}\n  again:  {escaped(each.again or '')}", soft_wrap=True)
        elif each.verdict == "no answer":
            console.print(f"{escaped(where)}: no answer: {escaped(each.failure or '')}", soft_wrap=True)
    said = f"{counts['own']} nearest to their own caption, {counts['another']} to another's"
    said += f", {counts['cannot tell']} too alike to tell, {counts['no answer']} without an answer"
    console.print(f"{len(windows)} windows asked again: {said}", soft_wrap=True)
    return code

"""`curate duplicates`: which clips show the same, and why."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from curate_cli.command import OK, Json, Root, existing_root, of_video_graph, told
from curate_cli.printing import escaped, print_document, results

if TYPE_CHECKING:
    from curate_assets.video.duplicates.clip_groups import ClipGroup, Outdated
    from curate_assets.video.duplicates.evidence import Evidence, Key, Side

duplicates = typer.Typer(no_args_is_help=True, help="See which clips show the same, and why.")


class _Tier(StrEnum):
    identical = "identical"
    picture = "picture"
    meaning = "meaning"


@told
def show(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[CLIP or GROUP]", help="The id of a clip, or of a group (its keeper's shard/clip)."),
    ] = None,
    tier: Annotated[_Tier | None, typer.Option(help="Only pairs of this tier.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Most groups to show, the biggest first.")] = 20,
    root: Root = None,
    as_json: Json = False,
) -> int:
    """Show groups of duplicates: what is kept, what is removed for it, and the spans that both have.

    Of a clip, all its pairs are shown, also those that remove nothing.
    """
    from curate_assets.graphs import GRAPH
    from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
    from curate_assets.video.duplicates.clip_groups import clip_groups, groups_of, outdated
    from curate_assets.video.duplicates.evidence import evidence_of
    from curate_resources.tables.lance_tables import Tables

    of_video_graph("duplicates")
    tables = Tables(existing_root(root)).under(GRAPH.asset(DUPLICATE_GROUPS.name).seen)
    if name:
        groups = groups_of(tables, name)
        total = len(groups)
    else:
        groups, total = clip_groups(tables, count, tier.value if tier else None)
    asked = [member.clip for group in groups for member in group.members] if name else [each.keeper for each in groups]
    found = evidence_of(tables, asked)
    members = {member.clip for group in groups for member in group.members}
    pairs = {
        pair: [each for each in own if tier is None or each.tier == tier.value]
        for pair, own in found.items()
        if name or pair[1] in members
    }
    shown = {pair: own for pair, own in pairs.items() if own}
    _print(groups, total, outdated(tables), shown, tier.value if tier else None, as_json)
    return OK


def _print(
    groups: "list[ClipGroup]",
    total: int,
    since: "Outdated",
    pairs: "dict[tuple[Key, Key], list[Evidence]]",
    tier: str | None,
    as_json: bool,
) -> None:
    """Each group, and under each removed clip what it and the keeper have in common."""
    if as_json:
        rows = [asdict(each) for own in pairs.values() for each in own]
        shown = {"groups": [asdict(group) for group in groups], "total": total, "outdated": asdict(since)}
        print_document({**shown, "pairs": rows})
        return
    console = results()
    if not groups:
        console.print(f"No clip is removed by {tier}." if tier else "No two selected clips count as duplicates.")
        if tier == _Tier.meaning:
            console.print(
                "Those that are alike in meaning are in `curate report`, and by alike_id in `duplicate_groups`."
            )
    for group in groups:
        clips = f"{len(group.members)} clips" if len(group.members) > 1 else "1 clip"
        console.print(f"[bold]{escaped('/'.join(group.keeper))}[/bold] is kept: {clips}", soft_wrap=True)
        own = {member.clip for member in group.members}
        for member in group.members:
            if member.clip != group.keeper:
                why = f"{member.tier} {member.similarity:.3f}" if member.similarity is not None else "via others"
                console.print(
                    f"  {escaped('/'.join(member.clip))}  [dim]{escaped(member.uri)}[/dim]  {why}", soft_wrap=True
                )
            for (one, other), evidence in pairs.items():
                to_keeper = (one, other) == (group.keeper, member.clip)
                if to_keeper or (one == member.clip and other not in own):
                    for each in evidence:
                        console.print(f"    {escaped(_said(each))}", soft_wrap=True)
    if total > len(groups):
        console.print(f"[dim]and {total - len(groups):,} more groups: --count {total} shows them[/dim]")
    if since.gone or since.new:
        console.print(
            f"[yellow]The selection has changed since: {since.gone:,} clips of groups are not selected any more, and "
            f"{since.new:,} selected ones are in no group[/yellow]: "
            "`curate materialize --select duplicate_pairs,duplicate_groups`",
            soft_wrap=True,
        )


_IN_WINDOWS = {"a": "this one in a window", "b": "the other in a window", "both": "both in windows"}


def _said(evidence: "Evidence") -> str:
    """A pair in a line."""
    parts = [f"{evidence.tier} {evidence.similarity:.3f}", "/".join(evidence.other.clip)]
    if evidence.one.start_ns is not None:
        parts.append(f"{_span(evidence.one)} is {_span(evidence.other)}")
    if evidence.verdict is not None:
        parts.append(f"{evidence.verdict}, {evidence.one.share:.0%} and {evidence.other.share:.0%} of them")
    if evidence.speed is not None and abs(evidence.speed - 1) > 0.02:
        parts.append(f"speed {evidence.speed:.2f}")
    parts += ["mirrored"] if evidence.mirrored else []
    parts += [_IN_WINDOWS[evidence.window]] if evidence.window else []
    parts += [evidence.view] if evidence.view and evidence.view != "whole" else []
    if evidence.motion_correlation is not None:
        parts.append(f"motion {evidence.motion_correlation:.2f}")
    return ", ".join(parts)


def _span(side: "Side") -> str:
    assert side.start_ns is not None and side.end_ns is not None
    return f"{side.start_ns / 1e9:.1f}–{side.end_ns / 1e9:.1f} s"


duplicates.command()(show)

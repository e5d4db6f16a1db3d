"""Contact sheets: some of the clips that were kept, and some of those that were rejected, by reason."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from curate_assets.graph.contact_sheet import spread
from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.caption_texts import CAPTION_STAGES, caption_columns, window_captions
from curate_assets.video.report.funnel import Key
from curate_assets.video.report.library import Library
from curate_assets.video.report.shown_clips import Clip, clip_paths, shown, storyboard_pictures

PICTURES = 24
"""Clips shown per contact sheet."""


@dataclass(frozen=True)
class Sheet:
    """Some of the clips that have the same `reasons` against them (none: they are kept), of `total`."""

    reasons: tuple[str, ...]
    total: int
    clips: tuple[Clip, ...]


def kept_sheet(library: Library, clips: Iterable[Key] | None) -> Sheet | None:
    """Of the clips that have files, with the pictures that were read back from these; None without clip_files."""
    if clips is None:
        return None
    every = library.in_order(clips)
    chosen = spread(every, PICTURES)
    columns = ["shard", "clip_id", "thumbnail", "crop_width", "crop_height"]
    stored = {(row["shard"], row["clip_id"]): row for row in library.rows_of(chosen, CLIP_FILES, columns)}
    pictures: dict[Key, bytes] = {key: row["thumbnail"] for key, row in stored.items()}
    cropped = {key: (row["crop_width"], row["crop_height"]) for key, row in stored.items() if row["crop_width"]}
    shown_clips = zip(chosen, _captioned(library, chosen, pictures), strict=True)
    return Sheet((), len(every), tuple(replace(clip, cropped=cropped.get(key)) for key, clip in shown_clips))


def rejected_sheets(library: Library) -> tuple[Sheet, ...] | None:
    """One per set of reasons, the most frequent first; None without clip_selection."""
    if library.verdicts is None:
        return None
    groups: dict[tuple[str, ...], list[Key]] = defaultdict(list)
    for key in library.in_order(library.verdicts):
        if library.verdicts[key]:
            groups[library.verdicts[key]].append(key)
    chosen = {reasons: spread(keys, PICTURES) for reasons, keys in groups.items()}
    pictures = storyboard_pictures(library, [key for keys in chosen.values() for key in keys])
    ordered = sorted(groups, key=lambda reasons: (-len(groups[reasons]), reasons))
    return tuple(Sheet(each, len(groups[each]), _captioned(library, chosen[each], pictures)) for each in ordered)


def _captioned(library: Library, keys: Sequence[Key], pictures: Mapping[Key, bytes]) -> tuple[Clip, ...]:
    rows = {each.name: library.rows_of(keys, each, caption_columns(each, "shard")) for each in CAPTION_STAGES}
    first: dict[Key, str] = {}
    for each in sorted(window_captions(rows), key=lambda each: each.window["start_frame"]):
        if each.caption is not None:
            first.setdefault((each.window["shard"], each.window["clip_id"]), each.caption["text"])
    paths = clip_paths(library, keys)
    return tuple(shown(library, key, pictures, paths.get(key), first.get(key)) for key in keys)

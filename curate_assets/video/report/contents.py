"""What the report says: gathered from the tables, as plain data."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from curate_assets.config import CurationConfig
from curate_assets.video.captions import CAPTIONS
from curate_assets.video.clip_files import CLIP_FILES
from curate_assets.video.clips import CLIPS
from curate_assets.video.duplicates import DUPLICATE_GROUPS, DUPLICATE_PAIRS
from curate_assets.video.motion import MOTION_SCORES
from curate_assets.video.report.distributions import Distribution, Mark, distribution
from curate_assets.video.report.funnel import FunnelStep, Key, passage
from curate_assets.video.report.thumbnails import Place, thumbnails
from curate_assets.video.selection import CLIP_SELECTION
from curate_assets.video.signals import MOTION_SIGNALS, STORYBOARDS
from curate_assets.video.source_videos import SOURCE_VIDEOS
from curate_assets.video.stages import TABLES
from curate_resources.manifests import MANIFEST
from curate_resources.stage import Table
from curate_resources.tables import Tables, quoted
from gpu_kernels.clips import SECOND
from gpu_kernels.selection import loss_ledger

PICTURES = 24
"""Clips shown per contact sheet."""
GROUPS = 20
"""Duplicate groups shown."""
MEMBERS = 12
"""Clips shown of a duplicate group."""
ROWS = 200
"""Failures, and unused files, listed."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Loss:
    """What a rejection reason, or a pair of reasons, costs; see `loss_ledger`."""

    reason: str
    removed: int
    removed_alone: int


@dataclass(frozen=True)
class Clip:
    """A clip as it is shown.

    Attributes:
        uri: its source file.
        start, end: seconds in the source.
        width, height: of the source as displayed, in pixels.
        motion, least_motion: `global_mean` and `per_patch_min_256` of motion_scores; None where not measured.
        luma: mean luminance, 0 to 1; None where not measured.
        caption: of its first window that has one.
        thumbnail: JPEG; None when there is no picture.
    """

    uri: str
    start: float
    end: float
    width: int | None
    height: int | None
    motion: float | None
    least_motion: float | None
    luma: float | None
    caption: str | None
    thumbnail: bytes | None


@dataclass(frozen=True)
class Sheet:
    """Some of the clips that have the same `reasons` against them (none: they are kept), of `total`."""

    reasons: tuple[str, ...]
    total: int
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Member:
    """A clip of a duplicate group; `similarity` to the keeper is None for itself and where no pair was recorded."""

    clip: Clip
    keeper: bool
    similarity: float | None


@dataclass(frozen=True)
class DuplicateGroup:
    """The keeper and the first others of `size` clips that show the same."""

    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Duplicates:
    """The biggest groups, how many there are, and the similarity from which clips count as duplicates."""

    total: int
    threshold: float
    groups: tuple[DuplicateGroup, ...]


@dataclass(frozen=True)
class Failure:
    """A failed row."""

    table: str
    uri: str
    type: str
    message: str
    attempt: int


@dataclass(frozen=True)
class Unused:
    """A file that was read and is not used, and why."""

    uri: str
    type: str
    message: str


@dataclass(frozen=True)
class Share:
    """How many sources have a property, and seconds of video in them."""

    value: str
    files: int
    seconds: float


@dataclass(frozen=True)
class CaptionCount:
    """Caption windows of one model and status."""

    model: str
    revision: str
    status: str
    windows: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class ReportContents:
    """All that the page says. Sections whose table was never written are None.

    Attributes:
        root: URI of the root.
        shards: number of shards that were probed.
        seconds_in: length of all readable videos.
        bytes_in: size of all readable videos.
        out: name of the last funnel step that has clips ("clips" to "clip files"), `clips_out` and `seconds_out` of it.
        ledger: what each rejection reason costs.
        sources: shares by title (codec, container, ...).
        failed: failed rows by table; `failures` lists the first of them.
        unused: number of readable files that are not used; `unused_files` lists the first of them.
    """

    root: str
    shards: int
    seconds_in: float
    bytes_in: int
    out: str | None
    clips_out: int
    seconds_out: float
    funnel: tuple[FunnelStep, ...]
    ledger: tuple[Loss, ...] | None
    distributions: tuple[Distribution, ...]
    kept: Sheet | None
    rejected: tuple[Sheet, ...] | None
    duplicates: Duplicates | None
    sources: dict[str, tuple[Share, ...]] | None
    captions: tuple[CaptionCount, ...] | None
    failed: dict[str, int]
    failures: tuple[Failure, ...]
    unused: int
    unused_files: tuple[Unused, ...]


def gather(tables: Tables, config: CurationConfig, samples: int | None) -> ReportContents:
    """Gather what the report says. Reads columns, never vectors or transition curves; pictures only of clips shown.

    Args:
        samples: samples in the training set; None when there is none.
    """
    return _Gathering(tables, config).contents(samples)


class _Gathering:
    """The columns that several sections look at, read once."""

    def __init__(self, tables: Tables, config: CurationConfig) -> None:
        self._tables, self._config = tables, config
        columns = ["shard", "uri", "video_id", "bytes", "container", "codec", "width", "height", "average_rate"]
        columns += ["constant_rate", "duration_ns", "audio_codec", "status", "error"]
        self._files = tables.read(SOURCE_VIDEOS, columns=columns).to_pylist()
        readable = [row for row in self._files if row["status"] == "ok"]
        self._videos: dict[Key, dict[str, Any]] = {(row["shard"], row["video_id"]): row for row in readable}
        columns = ["shard", "video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns"]
        clips = [row for row in self._good(CLIPS, columns) if (row["shard"], row["video_id"]) in self._videos]
        self._clips: dict[Key, dict[str, Any]] = {(row["shard"], row["clip_id"]): row for row in clips}
        scores = self._good(MOTION_SCORES, ["shard", "clip_id", "global_mean", "per_patch_min_256"])
        self._motion = {(row["shard"], row["clip_id"]): row for row in scores}
        self._luma = self._luminance()

    def contents(self, samples: int | None) -> ReportContents:
        """Everything."""
        way = passage(self._tables, samples)
        out = list(way.clips)[-1] if way.clips else None
        leaving = way.clips[out] if out else frozenset[Key]()
        verdicts = self._verdicts()
        failed, failures = self._failures()
        unused = [row for row in self._files if row["status"] == "empty"]
        return ReportContents(
            root=self._tables.storage.root,
            shards=len({row["shard"] for row in self._files}),
            seconds_in=sum(row["duration_ns"] or 0 for row in self._videos.values()) / SECOND,
            bytes_in=sum(row["bytes"] or 0 for row in self._videos.values()),
            out=out,
            clips_out=len(leaving),
            seconds_out=sum(self._seconds(self._clips[key]) for key in sorted(leaving) if key in self._clips),
            funnel=way.steps,
            ledger=None if verdicts is None else tuple(Loss(**each) for each in _ledger(verdicts)),
            distributions=tuple(self._distributions(verdicts, way.clips.get("selected"))),
            kept=self._kept(way.clips.get("clip files")),
            rejected=None if verdicts is None else self._rejected(verdicts),
            duplicates=self._duplicates(),
            sources=self._sources() if self._written(SOURCE_VIDEOS) else None,
            captions=self._captions() if self._written(CAPTIONS) else None,
            failed=failed,
            failures=tuple(failures),
            unused=len(unused),
            unused_files=tuple(
                Unused(
                    row["uri"], (row["error"] or {}).get("type") or "empty", (row["error"] or {}).get("message") or ""
                )
                for row in unused[:ROWS]
            ),
        )

    def _written(self, table: Table) -> bool:
        return self._tables.exists(table.name)

    def _good(self, table: Table, columns: list[str], where: str | None = None) -> list[dict[str, Any]]:
        condition = f"status = 'ok' AND {where}" if where else "status = 'ok'"
        return self._tables.read(table, columns=columns, where=condition).to_pylist()

    @staticmethod
    def _seconds(clip: Mapping[str, Any]) -> float:
        return (clip["end_ns"] - clip["start_ns"]) / SECOND

    def _verdicts(self) -> dict[Key, tuple[str, ...]] | None:
        """The reasons against every clip that has a verdict."""
        if not self._written(CLIP_SELECTION):
            return None
        rows = self._good(CLIP_SELECTION, ["shard", "clip_id", "reasons"])
        found = {(row["shard"], row["clip_id"]): tuple(row["reasons"] or ()) for row in rows}
        return {key: reasons for key, reasons in found.items() if key in self._clips}

    def _luminance(self) -> dict[Key, float]:
        """Mean luminance of every clip. The curves of one shard at a time: they have a value per frame."""
        spans: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        for clip in self._clips.values():
            spans[clip["shard"], clip["video_id"]].append(clip)
        found: dict[Key, float] = {}
        for shard in sorted({shard for shard, _ in spans}):
            rows = self._tables.read(MOTION_SIGNALS, shard, ["video_id", "luma"], "status = 'ok'")
            if rows.num_rows == 0:
                continue
            curves = rows["luma"].combine_chunks()
            bounds, luma = curves.offsets.to_numpy(), curves.values.to_numpy()
            for index, video in enumerate(rows["video_id"].to_pylist()):
                curve = luma[bounds[index] : bounds[index + 1]]
                for clip in spans[shard, video]:
                    span = curve[clip["start_frame"] : clip["end_frame"]]
                    if len(span):
                        found[shard, clip["clip_id"]] = float(span.mean(dtype=np.float64))
        return found

    def _distributions(
        self, verdicts: Mapping[Key, Sequence[str]] | None, selected: Iterable[Key] | None
    ) -> Iterable[Distribution]:
        limits = self._config.clip_selection
        groups: dict[str, list[Key]] = {"clips": sorted(self._clips)}
        if verdicts is not None:
            chosen = set(selected or ())
            groups = {"selected": sorted(chosen & verdicts.keys()), "rejected": sorted(verdicts.keys() - chosen)}

        def by_group(value: Any) -> dict[str, list[float]]:
            each = {name: [value(key) for key in keys] for name, keys in groups.items()}
            return {name: [number for number in numbers if number is not None] for name, numbers in each.items()}

        def of_video(key: Key) -> dict[str, Any]:
            return self._videos[key[0], self._clips[key]["video_id"]]

        def motion(name: str) -> dict[str, list[float]]:
            return by_group(lambda key: self._motion[key][name] if key in self._motion else None)

        def short_side(key: Key) -> int | None:
            width, height = of_video(key)["width"], of_video(key)["height"]
            return min(width, height) if width and height else None

        def rate(key: Key) -> float | None:
            value = of_video(key)["average_rate"]
            return round(value, 2) if value else None

        clips, sides = self._written(CLIPS), CLIPS.name
        seconds = by_group(lambda key: self._seconds(self._clips[key]))
        marks = _marks(min=limits.seconds_min, max=limits.seconds_max)
        yield distribution("Clip length", "s", "clips", sides, clips, seconds, marks=marks)
        scored, scores = self._written(MOTION_SCORES), MOTION_SCORES.name
        marks = _marks(min=limits.motion_global_mean_min)
        yield distribution("Motion", "", "clips", scores, scored, motion("global_mean"), "log", marks=marks)
        marks = _marks(min=limits.motion_per_patch_min)
        least = motion("per_patch_min_256")
        yield distribution("Motion of the stillest patch", "", "clips", scores, scored, least, "log", marks=marks)
        luma, measured = by_group(self._luma.get), self._written(MOTION_SIGNALS)
        yield distribution("Mean luminance", "", "clips", MOTION_SIGNALS.name, measured, luma, within=(0, 1))
        marks = _marks(min=limits.short_side_min)
        yield distribution("Short side", "px", "clips", sides, clips, by_group(short_side), "values", marks=marks)
        marks = _marks(min=limits.frame_rate_min)
        yield distribution("Frame rate", "fps", "clips", sides, clips, by_group(rate), "values", marks=marks)
        frames = self._tables.read(STORYBOARDS, columns=["sharpness"], where="status = 'ok' AND sharpness IS NOT NULL")
        sharp = {"frames": frames["sharpness"].to_numpy()}
        boards = self._written(STORYBOARDS)
        yield distribution("Sharpness", "", "storyboard frames", STORYBOARDS.name, boards, sharp, "log")
        yield self._similarity()
        if words := self._caption_words():
            yield distribution("Caption length", "words", "captions", CAPTIONS.name, True, {"captions": words})

    def _similarity(self) -> Distribution:
        threshold = self._config.duplicate_groups.min_similarity
        similarity = np.array(sorted(self._pairs().values()), np.float64)
        return distribution(
            "Similarity of pairs",
            "",
            "pairs of clips",
            DUPLICATE_PAIRS.name,
            self._written(DUPLICATE_PAIRS),
            {"duplicates": similarity[similarity >= threshold], "below threshold": similarity[similarity < threshold]},
            within=(self._config.duplicate_pairs.floor_similarity, 1),
            marks=[Mark(threshold, "duplicate from")],
        )

    def _pairs(self) -> dict[tuple[Key, Key], float]:
        """Similarities of pairs of clips that are there, each once: both shards of a pair may have recorded it."""
        names = ["shard_a", "clip_a", "shard_b", "clip_b"]
        rows = self._tables.read(DUPLICATE_PAIRS, columns=[*names, "similarity"], where="status = 'ok'")
        rows = rows.group_by(names).aggregate([("similarity", "max")])
        keys = zip(*(rows[name].to_pylist() for name in names), strict=True)
        pairs = {((a, b), (c, d)): s for (a, b, c, d), s in zip(keys, rows["similarity_max"].to_pylist(), strict=True)}
        return {pair: s for pair, s in pairs.items() if pair[0] in self._clips and pair[1] in self._clips}

    def _caption_words(self) -> list[int]:
        texts = self._tables.read(CAPTIONS, columns=["text"], where="status = 'ok' AND text IS NOT NULL")["text"]
        return [len(text.split()) for text in texts.to_pylist()]

    def _kept(self, clips: Iterable[Key] | None) -> Sheet | None:
        if clips is None:
            return None
        every = self._in_order(clips)
        shown = spread(every, PICTURES)
        where = _one_of("clip_id", [key[1] for key in shown])
        stored = self._good(CLIP_FILES, ["shard", "clip_id", "thumbnail"], where) if shown else []
        pictures: dict[Key, bytes] = {(row["shard"], row["clip_id"]): row["thumbnail"] for row in stored}
        return Sheet((), len(every), self._shown(shown, pictures))

    def _rejected(self, verdicts: Mapping[Key, tuple[str, ...]]) -> tuple[Sheet, ...]:
        groups: dict[tuple[str, ...], list[Key]] = defaultdict(list)
        for key in self._in_order(verdicts):
            if verdicts[key]:
                groups[verdicts[key]].append(key)
        shown = {reasons: spread(keys, PICTURES) for reasons, keys in groups.items()}
        pictures = self._pictures([key for keys in shown.values() for key in keys])
        ordered = sorted(groups, key=lambda reasons: (-len(groups[reasons]), reasons))
        return tuple(Sheet(each, len(groups[each]), self._shown(shown[each], pictures)) for each in ordered)

    def _duplicates(self) -> Duplicates | None:
        if not self._written(DUPLICATE_GROUPS):
            return None
        groups: dict[str, list[tuple[Key, bool]]] = defaultdict(list)
        for row in self._good(DUPLICATE_GROUPS, ["shard", "clip_id", "group_id", "keeper"], "group_size > 1"):
            if (row["shard"], row["clip_id"]) in self._clips:
                groups[row["group_id"]].append(((row["shard"], row["clip_id"]), row["keeper"]))
        biggest = sorted(groups, key=lambda group: (-len(groups[group]), min(groups[group])))[:GROUPS]
        pairs = self._pairs() if biggest else {}
        chosen: list[tuple[int, list[tuple[Key, bool, float | None]]]] = []
        for group in biggest:
            keeper = next((key for key, kept in groups[group] if kept), None)
            members = [
                (key, kept, pairs.get((key, keeper), pairs.get((keeper, key))) if keeper and not kept else None)
                for key, kept in groups[group]
            ]
            # The keeper, then the least similar: where the threshold is too low, it shows there.
            members.sort(key=lambda member: (not member[1], -1.0 if member[2] is None else member[2], member[0]))
            chosen.append((len(members), members[:MEMBERS]))
        pictures = self._pictures([key for _, members in chosen for key, _, _ in members])
        shown = tuple(
            DuplicateGroup(size, tuple(Member(self._clip(key, pictures), kept, near) for key, kept, near in members))
            for size, members in chosen
        )
        return Duplicates(len(groups), self._config.duplicate_groups.min_similarity, shown)

    def _in_order(self, clips: Iterable[Key]) -> list[Key]:
        """By source file and time, so that an even spread is one over the whole library."""
        known = [key for key in clips if key in self._clips]
        return sorted(known, key=lambda key: (self._uri(self._clips[key]), self._clips[key]["start_ns"], key))

    def _uri(self, row: Mapping[str, Any]) -> str:
        return self._videos[row["shard"], row["video_id"]]["uri"]

    def _pictures(self, keys: Iterable[Key]) -> dict[Key, bytes]:
        places = {
            Place(clip["shard"], clip["video_id"], clip["clip_id"], clip["start_frame"], clip["end_frame"])
            for clip in (self._clips[key] for key in keys)
        }
        return {(place.shard, place.clip_id): jpeg for place, jpeg in thumbnails(self._tables, places).items()}

    def _shown(self, keys: Sequence[Key], pictures: Mapping[Key, bytes]) -> tuple[Clip, ...]:
        where = _one_of("clip_id", [key[1] for key in keys])
        columns = ["shard", "clip_id", "window", "text"]
        captions = self._good(CAPTIONS, columns, where) if keys else []
        first: dict[Key, str] = {}
        for row in sorted(captions, key=lambda row: row["window"]):
            first.setdefault((row["shard"], row["clip_id"]), row["text"])
        return tuple(self._clip(key, pictures, first.get(key)) for key in keys)

    def _clip(self, key: Key, pictures: Mapping[Key, bytes], caption: str | None = None) -> Clip:
        clip, moving = self._clips[key], self._motion.get(key, {})
        video = self._videos[clip["shard"], clip["video_id"]]
        return Clip(
            uri=video["uri"],
            start=clip["start_ns"] / SECOND,
            end=clip["end_ns"] / SECOND,
            width=video["width"],
            height=video["height"],
            motion=moving.get("global_mean"),
            least_motion=moving.get("per_patch_min_256"),
            luma=self._luma.get(key),
            caption=caption,
            thumbnail=pictures.get(key),
        )

    def _sources(self) -> dict[str, tuple[Share, ...]]:
        def rate(video: Mapping[str, Any]) -> str:
            if not video["average_rate"]:
                return "unknown"
            return f"{round(video['average_rate'], 2):g} fps" + (
                ", variable" if video["constant_rate"] is False else ""
            )

        titles = {
            "Codec": lambda video: video["codec"] or "unknown",
            "Container": lambda video: video["container"] or "unknown",
            "Frame rate": rate,
            "Sound": lambda video: video["audio_codec"] or "none",
        }
        found: dict[str, tuple[Share, ...]] = {}
        for title, value_of in titles.items():
            files: Counter[str] = Counter()
            length: Counter[str] = Counter()
            for video in self._videos.values():
                files[value_of(video)] += 1
                length[value_of(video)] += video["duration_ns"] or 0
            ordered = sorted(files, key=lambda value: (-files[value], value))
            found[title] = tuple(Share(value, files[value], length[value] / SECOND) for value in ordered)
        return found

    def _captions(self) -> tuple[CaptionCount, ...]:
        names = ["model", "model_revision", "caption_status"]
        rows = self._tables.read(CAPTIONS, columns=[*names, "prompt_tokens", "output_tokens", "status"])
        counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in rows.to_pylist():
            status = row["caption_status"] or ("error" if row["status"] == "failed" else row["status"])
            tally = counts[row["model"] or "", row["model_revision"] or "", status]
            for place, number in enumerate((1, row["prompt_tokens"] or 0, row["output_tokens"] or 0)):
                tally[place] += number
        ordered = sorted(counts.items(), key=lambda item: (item[0][:2], -item[1][0], item[0][2]))
        return tuple(
            CaptionCount(model, revision, status, windows, prompt, output)
            for (model, revision, status), (windows, prompt, output) in ordered
        )

    def _failures(self) -> tuple[dict[str, int], list[Failure]]:
        """All failed rows by table, and the first of them, ordered by file: one cause fails in several tables."""
        uris = {key: video["uri"] for key, video in self._videos.items()}
        counts: dict[str, int] = {}
        rows: list[tuple[str, int, Failure]] = []
        for place, table in enumerate(TABLES.values()):
            if table.name == MANIFEST.name:
                continue
            named = [name for name in ("uri", "video_id", "clip_id", "clip_a") if name in table.columns.names]
            found = self._tables.read(table, columns=["shard", *named, "error"], where="status = 'failed'")
            if found.num_rows:
                counts[table.name] = found.num_rows
            for row in found.to_pylist():
                ids = [str(row[name]) for name in named if row[name] is not None]
                uri = row.get("uri") or uris.get((row["shard"], row.get("video_id") or "")) or " ".join(ids)
                error = row["error"] or {}
                kind, message = error.get("type") or "unknown", error.get("message") or "no reason was recorded"
                rows.append((uri, place, Failure(table.name, uri, kind, message, error.get("attempt") or 1)))
        rows.sort(key=lambda row: row[:2])
        return counts, [failure for _, _, failure in rows[:ROWS]]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, in order, evenly from all of them."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


def _ledger(verdicts: Mapping[Key, tuple[str, ...]]) -> list[dict[str, Any]]:
    return loss_ledger(verdicts.values())


def _marks(**limits: float | None) -> list[Mark]:
    return [Mark(value, label) for label, value in limits.items() if value is not None]


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(quoted(value) for value in sorted(set(values)))})"

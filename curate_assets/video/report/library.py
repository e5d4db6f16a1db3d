"""The videos and clips that the report is about, and what was measured of them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa

from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.clip_scores import by_clip, stored_scores
from curate_assets.video.duplicates.selected_clips import SelectedClips
from curate_assets.video.duplicates.valid_pairs import valid_pairs
from curate_assets.video.report.funnel import Key
from curate_assets.video.verdicts import SCORED, SCORES
from curate_resources.declarations.table import Row, Table
from curate_resources.tables.lance_tables import Tables, one_of
from gpu_kernels.dedup.tiers import TIERS
from gpu_kernels.scores.thresholds import Measured, Scores
from gpu_kernels.shots.splitting import SECOND

_COLUMNS = ("shard", "video_id", "clip_id", "start_frame", "end_frame", "start_ns", "end_ns")
_CLIPS = pa.schema([CLIPS.schema.field(name) for name in _COLUMNS])


class Library:
    """The columns that several sections look at, read once.

    Attributes:
        tables: where they come from.
        files: all files.
        videos: those that are readable.
        clips: those whose video is readable.
        columns: by score, those of all clips in their order; NaN where not measured.
        places: of every clip, its place in that order.
        scores: of every clip, by name.
        luma: mean luminance of clips, 0 to 1.
        verdicts: the reasons against every clip that has a verdict; None without clip_selection.
        not_measured: by measurement, the clips that were rejected without it.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        columns = ["shard", "uri", "video_id", "bytes", "container", "codec", "width", "height", "average_rate"]
        columns += ["constant_rate", "duration_ns", "audio_codec", "audio_error", "status", "error"]
        self.files: list[Row] = tables.read(SOURCE_VIDEOS, columns=columns).to_pylist()
        readable = [row for row in self.files if row["status"] == "ok"]
        self.videos: dict[Key, Row] = {(row["shard"], row["video_id"]): row for row in readable}
        clips = [row for row in self.rows(CLIPS, _CLIPS.names) if (row["shard"], row["video_id"]) in self.videos]
        self.clips: dict[Key, Row] = {(row["shard"], row["clip_id"]): row for row in clips}
        self.places: dict[Key, int] = {key: place for place, key in enumerate(self.clips)}
        self.columns = self._columns()
        self.scores: dict[Key, Measured] = dict(zip(self.clips, by_clip(self.columns), strict=True))
        self.luma = self._luminance()
        self.verdicts, self.not_measured = self._verdicts()

    def written(self, table: Table) -> bool:
        """Whether a table was ever written."""
        return self.tables.exists(table.name)

    def rows(self, table: Table, columns: list[str], where: str | None = None) -> list[Row]:
        """Rows of a table that hold a result."""
        condition = f"status = 'ok' AND {where}" if where else "status = 'ok'"
        return self.tables.read(table, columns=columns, where=condition).to_pylist()

    def rows_of(self, clips: Collection[Key], table: Table, columns: list[str]) -> list[Row]:
        """Such rows about some clips; other shards' clips with the same ids may be among them."""
        return self.rows(table, columns, one_of("clip_id", (clip_id for _, clip_id in clips))) if clips else []

    def video(self, clip: Key) -> Row:
        """The video that a clip is of."""
        return self.videos[clip[0], self.clips[clip]["video_id"]]

    def seconds(self, clip: Key) -> float:
        """A clip's length."""
        return (self.clips[clip]["end_ns"] - self.clips[clip]["start_ns"]) / SECOND

    def in_order(self, clips: Iterable[Key]) -> list[Key]:
        """By source file and time, so that an even spread is one over the whole library."""
        known = [key for key in clips if key in self.clips]
        return sorted(known, key=lambda key: (self.video(key)["uri"], self.clips[key]["start_ns"], key))

    def similarities(self, tier: str) -> np.ndarray:
        """Of the pairs of a tier that hold, each once, sorted."""
        pairs = valid_pairs(self.tables, SelectedClips.of(self.tables))
        return np.sort(pairs.similarity[pairs.tier == TIERS.index(tier)]).astype(np.float64)

    def _columns(self) -> Scores:
        clips = pa.Table.from_pylist([*self.clips.values()], schema=_CLIPS)
        return stored_scores(SCORED, [score.name for score in SCORES], clips, self.tables, None)

    def _luminance(self) -> dict[Key, float]:
        """From the curves of one shard at a time: they have a value per frame."""
        spans: dict[Key, list[Row]] = defaultdict(list)
        for clip in self.clips.values():
            spans[clip["shard"], clip["video_id"]].append(clip)
        found: dict[Key, float] = {}
        for shard in sorted({shard for shard, _ in spans}):
            rows = self.tables.read(MOTION_SIGNALS, shard, ["video_id", "luma"], "status = 'ok'")
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

    def _verdicts(self) -> tuple[dict[Key, tuple[str, ...]] | None, Counter[str]]:
        if not self.written(CLIP_SELECTION):
            return None, Counter()
        rows = self.rows(CLIP_SELECTION, ["shard", "clip_id", "reasons", "not_measured"])
        rows = [row for row in rows if (row["shard"], row["clip_id"]) in self.clips]
        found = {(row["shard"], row["clip_id"]): tuple(row["reasons"] or ()) for row in rows}
        return found, Counter(name for row in rows for name in row["not_measured"] or ())

"""What the report says: gathered from the tables, as plain data."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from curate_assets.graph.graph import FunnelStep
from curate_assets.graph.platform import PlatformConfig
from curate_assets.video.balancing import Share
from curate_assets.video.report.caption_counts import CaptionCount, caption_counts
from curate_assets.video.report.concepts import Concepts, balance, concepts
from curate_assets.video.report.contact_sheets import Sheet, kept_sheet, rejected_sheets
from curate_assets.video.report.distributions import Distribution
from curate_assets.video.report.duplicate_groups import Duplicates, duplicates
from curate_assets.video.report.failures import Failure, Unused, failed_rows, unused_files
from curate_assets.video.report.funnel import Key, passage
from curate_assets.video.report.library import Library
from curate_assets.video.report.measurements import measurements
from curate_assets.video.report.score_extremes import Extremes, score_extremes
from curate_assets.video.report.sources import Share as SourceShare
from curate_assets.video.report.sources import sources
from curate_resources.declarations.table import Table
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.scores.thresholds import loss_ledger
from gpu_kernels.shots.splitting import SECOND


@dataclass(frozen=True)
class Loss:
    """What a rejection reason, or a pair of reasons, costs; see `loss_ledger`."""

    reason: str
    removed: int
    removed_alone: int


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
        not_measured: by measurement, the clips that were rejected without it: its reasons may be against these, too.
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
    not_measured: dict[str, int]
    distributions: tuple[Distribution, ...]
    extremes: tuple[Extremes, ...]
    kept: Sheet | None
    rejected: tuple[Sheet, ...] | None
    duplicates: Duplicates | None
    concepts: Concepts | None
    balance: tuple[Share, ...]
    sources: dict[str, tuple[SourceShare, ...]] | None
    captions: tuple[CaptionCount, ...] | None
    failed: dict[str, int]
    failures: tuple[Failure, ...]
    unused: int
    unused_files: tuple[Unused, ...]


def gather(tables: Tables, config: PlatformConfig, samples: int | None, reported: Sequence[Table]) -> ReportContents:
    """Gather what the report says. Reads columns, never vectors or transition curves; pictures only of clips shown.

    Args:
        samples: samples in the training set; None when there is none.
        reported: the tables whose failures are listed.
    """
    library = Library(tables)
    way = passage(tables, samples)
    out = list(way.clips)[-1] if way.clips else None
    leaving = way.clips[out] if out else frozenset[Key]()
    failed, failures = failed_rows(library, reported)
    unused, listed = unused_files(library)
    return ReportContents(
        root=tables.storage.root,
        shards=len({row["shard"] for row in library.files}),
        seconds_in=sum(row["duration_ns"] or 0 for row in library.videos.values()) / SECOND,
        bytes_in=sum(row["bytes"] or 0 for row in library.videos.values()),
        out=out,
        clips_out=len(leaving),
        seconds_out=sum(library.seconds(key) for key in sorted(leaving) if key in library.clips),
        funnel=way.steps,
        ledger=None if library.verdicts is None else _ledger(library.verdicts.values()),
        not_measured=dict(sorted(library.not_measured.items())),
        distributions=tuple(measurements(library, config, way.clips.get("selected"))),
        extremes=score_extremes(library, config),
        kept=kept_sheet(library, way.clips.get("clip files")),
        rejected=rejected_sheets(library),
        duplicates=duplicates(library),
        concepts=concepts(library),
        balance=balance(library),
        sources=sources(library),
        captions=caption_counts(library),
        failed=failed,
        failures=failures,
        unused=unused,
        unused_files=listed,
    )


def _ledger(reasons: Iterable[tuple[str, ...]]) -> tuple[Loss, ...]:
    entries: list[dict[str, Any]] = loss_ledger(Counter(reasons))
    return tuple(Loss(**entry) for entry in entries)

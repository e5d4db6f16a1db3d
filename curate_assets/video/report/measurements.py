"""What was measured of clips, storyboard frames, pairs and captions, as distributions with the thresholds on them."""

from collections.abc import Callable, Iterable, Iterator

from curate_assets.graph.graph import Asset
from curate_assets.graph.platform import PlatformConfig
from curate_assets.graph.score import Score
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION, ClipSelectionConfig
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.caption_texts import CAPTION_STAGES, caption_columns, window_captions
from curate_assets.video.measuring import is_measured
from curate_assets.video.report.distributions import Distribution, Mark, distribution
from curate_assets.video.report.funnel import Key
from curate_assets.video.report.library import Library
from curate_assets.video.verdicts import SCORED
from gpu_kernels.dedup.tiers import DuplicateGroupsConfig, DuplicatePairsConfig


def measurements(library: Library, config: PlatformConfig, selected: Iterable[Key] | None) -> Iterator[Distribution]:
    """Distributions in the page's order; those of clips parted by whether they were selected, once that is decided."""
    limits = config.section(CLIP_SELECTION.name, ClipSelectionConfig)
    groups: dict[str, list[Key]] = {"clips": sorted(library.clips)}
    if library.verdicts is not None:
        chosen, judged = set(selected or ()), library.verdicts.keys()
        groups = {"selected": sorted(chosen & judged), "rejected": sorted(judged - chosen)}

    def by_group(value: Callable[[Key], float | None]) -> dict[str, list[float]]:
        each = {name: [value(key) for key in keys] for name, keys in groups.items()}
        return {name: [number for number in numbers if number is not None] for name, numbers in each.items()}

    def of_score(asset: Asset, score: Score) -> Distribution:
        digits = 2 if score.scale == "values" else None
        values = by_group(lambda key: _rounded(library.scores[key][score.name], digits))
        limited = [(each, getattr(limits, each.setting)) for each in score.named()]
        marks = [
            Mark(value, "min" if each.rejects == "low" else "max", each.rejects)
            for each, value in limited
            if value is not None
        ]
        table = asset.table if asset.table.has("clip_id") else CLIPS
        return distribution(
            score.title, score.unit, "clips", table.name, library.written(table), values, score.scale, marks=marks
        )

    scored = [asset for asset in SCORED if is_measured(asset, config)]
    of_clips = [asset for asset in scored if asset.table.has("clip_id")]
    yield from (of_score(asset, score) for asset in of_clips for score in asset.scores)
    luma, measured = by_group(library.luma.get), library.written(MOTION_SIGNALS)
    yield distribution("Mean luminance", "", "clips", MOTION_SIGNALS.name, measured, luma, within=(0, 1))
    yield from (of_score(asset, score) for asset in scored if asset not in of_clips for score in asset.scores)
    yield _sharpness(library)
    yield from _similarities(library, config)
    if words := _caption_words(library):
        yield distribution("Caption length", "words", "captions", CAPTIONS.name, True, {"captions": words})


def _rounded(value: float | None, digits: int | None) -> float | None:
    return value if value is None or digits is None else round(value, digits)


def _sharpness(library: Library) -> Distribution:
    measured = "status = 'ok' AND sharpness IS NOT NULL"
    frames = library.tables.read(STORYBOARDS, columns=["sharpness"], where=measured)["sharpness"].to_numpy()
    boards, source = library.written(STORYBOARDS), STORYBOARDS.name
    return distribution("Sharpness", "", "storyboard frames", source, boards, {"frames": frames}, "log")


def _similarities(library: Library, config: PlatformConfig) -> Iterator[Distribution]:
    written = library.written(DUPLICATE_PAIRS)
    measured = config.section(DUPLICATE_PAIRS.name, DuplicatePairsConfig)
    if measured.picture:
        found = {"pairs": library.similarities("picture")}
        yield distribution("Similarity of pictures", "", "pairs of clips", DUPLICATE_PAIRS.name, written, found)
    if measured.meaning:
        threshold = config.section(DUPLICATE_GROUPS.name, DuplicateGroupsConfig).min_similarity
        cosine = library.similarities("meaning")
        yield distribution(
            "Similarity in meaning",
            "",
            "pairs of clips",
            DUPLICATE_PAIRS.name,
            written,
            {"alike": cosine[cosine >= threshold], "below threshold": cosine[cosine < threshold]},
            within=(measured.floor_similarity, 1),
            marks=[Mark(threshold, "alike from")],
        )


def _caption_words(library: Library) -> list[int]:
    rows = {each.name: library.rows(each, caption_columns(each, "shard")) for each in CAPTION_STAGES}
    return [len(each.caption["text"].split()) for each in window_captions(rows) if each.caption is not None]

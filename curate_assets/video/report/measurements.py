"""What was measured of clips, storyboard frames, pairs and captions, as distributions with the thresholds on them."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from curate_assets.config import PlatformConfig
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS
from curate_assets.video.assets.motion_scores import MOTION_SCORES
from curate_assets.video.assets.motion_signals import MOTION_SIGNALS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.report.distributions import Distribution, Mark, distribution
from curate_assets.video.report.funnel import Key
from curate_assets.video.report.library import Library
from gpu_kernels.duplicates import DuplicateGroupsConfig, DuplicatePairsConfig
from gpu_kernels.selection import ClipSelectionConfig


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

    def motion(name: str) -> dict[str, list[float]]:
        return by_group(lambda key: library.motion[key][name] if key in library.motion else None)

    def short_side(key: Key) -> int | None:
        width, height = library.video(key)["width"], library.video(key)["height"]
        return min(width, height) if width and height else None

    def rate(key: Key) -> float | None:
        value = library.video(key)["average_rate"]
        return round(value, 2) if value else None

    clips, sides = library.written(CLIPS), CLIPS.name
    marks = _marks(min=limits.seconds_min, max=limits.seconds_max)
    yield distribution("Clip length", "s", "clips", sides, clips, by_group(library.seconds), marks=marks)
    scored, scores = library.written(MOTION_SCORES), MOTION_SCORES.name
    marks = _marks(min=limits.motion_peak_min)
    peak = motion("peak")
    yield distribution("Motion of the liveliest patch", "", "clips", scores, scored, peak, "log", marks=marks)
    marks = _marks(min=limits.motion_global_mean_min)
    yield distribution("Motion", "", "clips", scores, scored, motion("global_mean"), "log", marks=marks)
    marks = _marks(min=limits.motion_per_patch_min)
    least = motion("per_patch_min_256")
    yield distribution("Motion of the stillest patch", "", "clips", scores, scored, least, "log", marks=marks)
    luma, measured = by_group(library.luma.get), library.written(MOTION_SIGNALS)
    yield distribution("Mean luminance", "", "clips", MOTION_SIGNALS.name, measured, luma, within=(0, 1))
    marks = _marks(min=limits.short_side_min)
    yield distribution("Short side", "px", "clips", sides, clips, by_group(short_side), "values", marks=marks)
    marks = _marks(min=limits.frame_rate_min)
    yield distribution("Frame rate", "fps", "clips", sides, clips, by_group(rate), "values", marks=marks)
    yield _sharpness(library)
    yield _similarity(library, config)
    if words := _caption_words(library):
        yield distribution("Caption length", "words", "captions", CAPTIONS.name, True, {"captions": words})


def _sharpness(library: Library) -> Distribution:
    measured = "status = 'ok' AND sharpness IS NOT NULL"
    frames = library.tables.read(STORYBOARDS, columns=["sharpness"], where=measured)["sharpness"].to_numpy()
    boards, source = library.written(STORYBOARDS), STORYBOARDS.name
    return distribution("Sharpness", "", "storyboard frames", source, boards, {"frames": frames}, "log")


def _similarity(library: Library, config: PlatformConfig) -> Distribution:
    threshold = config.section(DUPLICATE_GROUPS.name, DuplicateGroupsConfig).min_similarity
    similarity = np.array(sorted(library.similarities().values()), np.float64)
    return distribution(
        "Similarity of pairs",
        "",
        "pairs of clips",
        DUPLICATE_PAIRS.name,
        library.written(DUPLICATE_PAIRS),
        {"similar enough": similarity[similarity >= threshold], "below threshold": similarity[similarity < threshold]},
        within=(config.section(DUPLICATE_PAIRS.name, DuplicatePairsConfig).floor_similarity, 1),
        marks=[Mark(threshold, "similar enough from")],
    )


def _caption_words(library: Library) -> list[int]:
    texts = library.tables.read(CAPTIONS, columns=["text"], where="status = 'ok' AND text IS NOT NULL")["text"]
    return [len(text.split()) for text in texts.to_pylist()]


def _marks(**limits: float | None) -> list[Mark]:
    return [Mark(value, label) for label, value in limits.items() if value is not None]

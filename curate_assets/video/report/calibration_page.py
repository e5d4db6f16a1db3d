"""The page of a calibration: what each proposed threshold rejects, and the clips on both sides of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from curate_assets.video.calibration import Calibration, Candidate, Proposal, SampledClip, sample_verdicts
from curate_assets.video.report.distributions import Distribution, Mark, distribution
from curate_assets.video.report.page import environment
from curate_assets.video.thumbnails import thumbnails, window_places
from curate_assets.video.verdicts import SCORED
from curate_resources.tables.lance_tables import Tables

_TEMPLATE = "calibration.html.jinja"

CALIBRATION_PATH = "reports/calibration.html"

NEIGHBOURS, FEW_NEIGHBOURS = 12, 3
"""Clips shown on each side of the proposed threshold, and of the other candidates."""


@dataclass(frozen=True)
class Neighbour:
    """A clip near a threshold, its score, and pictures of it from its beginning to its end."""

    clip: SampledClip
    score: float
    pictures: tuple[bytes, ...]


@dataclass(frozen=True)
class Sides:
    """A candidate for a threshold, and the nearest clips on both sides of it, the nearest first."""

    candidate: Candidate
    rejected: tuple[Neighbour, ...]
    kept: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Border:
    """A proposed threshold: how the score is distributed, and what lies on both sides of it and of the others."""

    proposal: Proposal
    distribution: Distribution
    proposed: Sides
    others: tuple[Sides, ...]


def write_calibration(tables: Tables, calibration: Calibration) -> str:
    """Write the page of a calibration; returns its URI."""
    tables.storage.write(CALIBRATION_PATH, render_calibration(tables, calibration).encode())
    return tables.storage.uri(CALIBRATION_PATH)


def render_calibration(tables: Tables, calibration: Calibration) -> str:
    """The page: as the report, HTML that holds its style and pictures, loads nothing and runs no script."""
    return environment().get_template(_TEMPLATE).render(calibration=calibration, borders=borders(tables, calibration))


def borders(tables: Tables, calibration: Calibration) -> list[Border]:
    """What is to be seen of every proposal."""
    sides = {
        (proposal.setting, candidate): _sides(calibration.sample, proposal, candidate.value)
        for proposal in calibration.proposals
        for candidate in proposal.candidates
    }
    pictures = _pictures(tables, [clip for both in sides.values() for side in both for clip in side])

    def shown(proposal: Proposal, candidate: Candidate) -> Sides:
        rejected, kept = (
            tuple(Neighbour(clip, clip.scores[proposal.score] or 0.0, pictures[clip]) for clip in side)
            for side in sides[proposal.setting, candidate]
        )
        return Sides(candidate, rejected, kept)

    found: list[Border] = []
    for proposal in calibration.proposals:
        each = [shown(proposal, candidate) for candidate in proposal.candidates]
        (proposed,) = (one for one in each if one.candidate.value == proposal.proposed)
        others = tuple(one for one in each if one is not proposed)
        found.append(Border(proposal, _distribution(calibration, proposal), proposed, others))
    return found


def _sides(
    sample: Sequence[SampledClip], proposal: Proposal, value: float
) -> tuple[list[SampledClip], list[SampledClip]]:
    """The clips nearest a value: those that it rejects, and those that pass."""
    most = NEIGHBOURS if value == proposal.proposed else FEW_NEIGHBOURS
    rejected: list[tuple[float, str, SampledClip]] = []
    kept: list[tuple[float, str, SampledClip]] = []
    for clip in sample:
        score = clip.scores[proposal.score]
        if score is not None:
            beyond = value - score if proposal.rejects == "low" else score - value
            (rejected if beyond > 0 else kept).append((abs(beyond), clip.clip_id, clip))
    nearest = [sorted(side, key=lambda each: each[:2])[:most] for side in (rejected, kept)]
    return [clip for _, _, clip in nearest[0]], [clip for _, _, clip in nearest[1]]


def _pictures(tables: Tables, clips: Sequence[SampledClip]) -> dict["SampledClip", tuple[bytes, ...]]:
    places = {
        clip: window_places(clip.shard, clip.video_id, clip.clip_id, clip.start_frame, clip.end_frame) for clip in clips
    }
    found = thumbnails(tables, [place for each in places.values() for place in each])
    return {clip: tuple(found[place] for place in each if place in found) for clip, each in places.items()}


def _distribution(calibration: Calibration, proposal: Proposal) -> Distribution:
    verdicts = {"selected": [0.0][:0], "rejected": [0.0][:0]}
    selected = sample_verdicts(calibration.config, calibration.sample).selected.tolist()
    for clip, is_selected in zip(calibration.sample, selected, strict=True):
        score = clip.scores[proposal.score]
        if score is not None:
            verdicts["selected" if is_selected else "rejected"].append(score)
    marks = [Mark(proposal.proposed, "proposed", proposal.rejects)]
    if proposal.current is not None and proposal.current != proposal.proposed:
        marks.append(Mark(proposal.current, "now", proposal.rejects))
    asset, score = next((each, score) for each in SCORED for score in each.scores if score.name == proposal.score)
    return distribution(score.title, score.unit, "clips", asset.name, True, verdicts, score.scale, marks=marks)

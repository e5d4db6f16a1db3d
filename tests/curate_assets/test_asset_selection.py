"""Selections of assets: what they name, and what is said of names that do not exist."""

import pytest

from curate_assets.orchestration.asset_selection import UnknownAsset, asset_names, selected

AFTER_SELECTION = {"clip_selection", "duplicate_pairs", "duplicate_groups", "captions", "clip_files"} | {
    "refined_captions",
    "enhanced_captions",
    "caption_embeddings",
    "caption_quality",
    "concept_clusters",
    "training_dataset",
    "dataset_report",
}


@pytest.mark.parametrize(
    ("selection", "named"),
    [
        ("clips", {"clips"}),
        ("clips, captions", {"clips", "captions"}),
        ("clip_selection+", AFTER_SELECTION),
        ("key:clip_selection+", AFTER_SELECTION),
        ('key:"clip_selection"+', AFTER_SELECTION),
        ("training_dataset+1", {"training_dataset", "dataset_report"}),
        ("+shot_signals", {"source_videos", "shot_signals"}),
        ("clip_selection+ and not (captions, key:clip_files)", AFTER_SELECTION - {"captions", "clip_files"}),
        (
            "clip_*",
            {"clip_answers", "clip_embeddings", "clip_files", "clip_labels", "clip_questions", "clip_selection"},
        ),
        ("roots(clips+), sinks(*)", {"clips", "caption_embeddings", "dataset_report"}),
        ("*", set(asset_names())),
    ],
)
def test_a_selection_names_assets(selection, named):
    assert selected(selection) == named


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("clips,nope", "there is no asset 'nope'; the assets are source_videos, "),
        ("clips,captoins+", "there is no asset 'captoins'; did you mean 'captions'?"),
        ("key:Clips+", "there is no asset 'Clips'; did you mean 'clips'"),
        ("clips, x*", r"there is no asset 'x\*'"),
        ("clips or group:nope", "no asset has group:nope"),
        ("clips and captions", "selects nothing"),
        ("++clips", "is not a selection"),
        ("clips,", "is not a selection"),
        ("", "is not a selection"),
    ],
)
def test_a_selection_of_which_a_part_names_nothing_is_an_error(selection, said):
    with pytest.raises(UnknownAsset, match=said):
        selected(selection)

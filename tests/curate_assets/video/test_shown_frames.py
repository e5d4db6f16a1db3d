"""A model that is to be shown more than its storyboard holds is refused, with the lines that give it a finer one."""

from typing import Any

import pytest
from pydantic import ValidationError

from curate_assets.graph.platform import ConfigError
from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.variants import with_variants
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO

SERVED = {"backend": "openai", "endpoint": "http://h/v1"}
LOADED = {"backend": "transformers", "model": "/models/m"}
FINER = with_variants(
    VIDEO,
    GraphChoice(variants={"storyboards": ["fine"]}, reads={"captions": {"storyboards": "storyboards_fine"}}),
)


def with_finer(captions: dict[str, Any], **fine: Any) -> Any:
    return FINER.config_model("Settings", __name__).model_validate({"captions": captions, "storyboards_fine": fine})


@pytest.mark.parametrize(
    ("captions", "said", "too_little", "enough"),
    [
        (
            SERVED | {"preset": "cosmos3_nano"},
            "captions.frames_per_second is 4, and storyboards hold 2: set it no higher, or ",
            {"frames_per_second": 3},
            {"frames_per_second": 4},
        ),
        (
            LOADED | {"max_pixels": 602_112},
            "captions.max_pixels is 602112, and storyboards hold pictures of 480 lines, 409600 pixels at 16:9: set ",
            {"short_side": 576},
            {"short_side": 582},
        ),
    ],
)
def test_the_remedy_is_named_and_helps(
    captions: dict[str, Any], said: str, too_little: dict[str, Any], enough: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as refused:
        validated({"captions": captions})
    ((key, value),) = enough.items()
    lines = (
        "`variants: {storyboards: [fine]}`, `reads: {captions: {storyboards: storyboards_fine}}` and "
        f"`storyboards_fine: {{{key}: {value}}}`"
    )
    assert said in str(refused.value) and lines in str(refused.value)
    assert with_finer(captions, **enough).captions.max_tokens > 0
    with pytest.raises(ValidationError, match="here storyboards is storyboards_fine"):
        with_finer(captions, **too_little)


def test_what_is_shown_no_more_than_there_is_needs_nothing() -> None:
    validated({"captions": SERVED | {"preset": "cosmos3_nano", "frames_per_second": 2}})
    validated({"captions": SERVED | {"preset": "qwen2_5_vl_7b"}})
    validated({"captions": LOADED | {"max_pixels": 409_600}})

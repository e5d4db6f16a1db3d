import json

import pytest

from gpu_kernels.captioners.questions import (
    PRESETS,
    SEMANTIC_FILTER,
    VIDEO_TYPE,
    Question,
    prompt_for,
    schema_for,
    together,
)


def test_the_lists_that_ship_are_those_of_the_reference() -> None:
    assert (len(SEMANTIC_FILTER), len(VIDEO_TYPE)) == (13, 27)
    assert {"slideshow", "video_in_video", "unnatural_speed"} < SEMANTIC_FILTER.keys()
    assert {"movie/film_scene", "egocentric_video/walking_POV", "other"} < VIDEO_TYPE.keys()
    assert len({question.text for each in PRESETS.values() for question in each.values()}) == 40


def test_a_prompt_asks_everything_once_and_the_schema_takes_the_choices_alone() -> None:
    questions = {
        "night": Question(text="Is it night?"),
        "weather": Question(text="How is the weather?", choices=["clear", "rain"]),
    }
    prompt = prompt_for(questions, "Answer.")
    assert prompt.count("Is it night?") == prompt.count("How is the weather?") == 1
    assert json.loads(prompt.splitlines()[-1]) == {"night": "yes|no", "weather": "clear|rain"}
    assert schema_for(questions) == {
        "type": "object",
        "properties": {
            "night": {"type": "string", "enum": ["yes", "no"]},
            "weather": {"type": "string", "enum": ["clear", "rain"]},
        },
        "required": ["night", "weather"],
        "additionalProperties": False,
    }


def test_a_question_may_be_its_text_and_yaml_may_read_its_choices_as_booleans() -> None:
    asked = Question.model_validate("Is it night?")
    assert asked == Question.model_validate({"text": "Is it night?", "choices": [True, False]})
    assert asked.digest != Question(text="Is it night?", choices=["yes", "no", "unclear"]).digest
    with pytest.raises(ValueError, match="are the same"):
        Question(text="Is it night?", choices=["yes", "Yes"])


def test_questions_of_several_lists_are_asked_together_under_their_own_keys() -> None:
    night = Question(text="Is it night?")
    lists = {**PRESETS, "mine": {"night": night}, "again": {"night": night}, "other": {"night": Question(text="Dark?")}}
    assert together(lists, ["semantic_filter", "mine", "again"]) == {**SEMANTIC_FILTER, "night": night}
    with pytest.raises(ValueError, match="'night' in the list 'other' is taken"):
        together(lists, ["mine", "other"])
    with pytest.raises(ValueError, match="'a b' in the list 'spaced' is taken by another question, 'a_b'"):
        together({"plain": {"a_b": night}, "spaced": {"a b": night}}, ["plain", "spaced"])
    with pytest.raises(ValueError, match="no list of questions 'semantics'; there are semantic_filter, video_type"):
        together(PRESETS, ["semantics"])

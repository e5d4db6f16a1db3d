"""What models write, and the answers that are read from it."""

import pytest

from gpu_kernels.captioners.answers import read_answers
from gpu_kernels.captioners.questions import Question

ASKED = {
    "night": Question(text="Is it night?"),
    "video_in_video": Question(text="Is there a picture in the picture?"),
    "weather": Question(text="How is the weather?", choices=["clear", "light rain"]),
}
RIGHT = {"night": "yes", "video_in_video": "no", "weather": "light rain"}
PLAIN = '{"night": "yes", "video_in_video": "no", "weather": "light rain"}'


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"```json\n{PLAIN}\n```",
        f"Sure, here it is: {PLAIN} I hope {{that}} helps.",
        f'<think>Is it {{"night": "no"}}?</think>{PLAIN}',
        f"one thought</think>another</think>\n<answer>{PLAIN}</answer>",
        PLAIN.replace('"', '\\"'),
        '{\n  "night": "yes"\n  "video_in_video": "no"\r\n  "weather": "light rain"\n}',
        '{\\"night\\": \\"yes\\"\n\\"video_in_video\\": \\"no\\"\n\\"weather\\": \\"light rain\\"}',
        PLAIN.replace("video_in_video", "video in video"),
        '{"night": true\n "video_in_video": false\n "weather": " Light Rain. "}',
        '{"night": "yes", "video_in_video": "no", "weather": "light rain", "why": {"said": "}"}}',
    ],
)
def test_an_answer_is_read_however_it_is_wrapped(text: str) -> None:
    assert read_answers(text, ASKED) == RIGHT


def test_what_is_missing_or_none_of_the_choices_is_no_answer_and_the_rest_counts() -> None:
    text = '{"night": "maybe", "weather": "clear", "unasked": "yes"}'
    assert read_answers(text, ASKED) == {"night": None, "video_in_video": None, "weather": "clear"}
    assert read_answers("{}", ASKED) == dict.fromkeys(ASKED)
    assert read_answers('{"night": null, "video_in_video": ["yes"], "weather": 1}', ASKED) == dict.fromkeys(ASKED)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "It is night.",
        '["yes"]',
        '{"night": "yes", "video_in',  # cut at the most tokens
        f"<think>{PLAIN}</think>",  # thought, and never answered
        f"{{no JSON}} {PLAIN}",  # only the first braces count
        '{"night": yes}',
        "{" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
)
def test_what_holds_no_object_is_malformed(text: str | None) -> None:
    assert read_answers(text, ASKED) is None

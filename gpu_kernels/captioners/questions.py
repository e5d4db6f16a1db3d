"""Lists of questions that a model is asked about a window in one request, and the form of its answer."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from gpu_kernels.strict import StrictModel

YES, NO = "yes", "no"


class Question(StrictModel):
    """One question about a window, and the answers to choose from."""

    text: str = Field(min_length=1)
    """What is asked."""
    choices: list[str] = Field(default=[YES, NO], min_length=2)
    """The answers to choose from."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_its_text(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given

    @field_validator("choices", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        # YAML reads an unquoted yes or no as a boolean.
        if isinstance(given, list):
            return [{True: YES, False: NO}[each] if isinstance(each, bool) else each for each in given]
        return given

    @model_validator(mode="after")
    def _told_apart(self) -> "Question":
        if len({each.strip().casefold() for each in self.choices}) < len(self.choices):
            raise ValueError(f"two of the choices {', '.join(self.choices)} are the same")
        return self

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over the question and its choices."""
        return hashlib.sha256(json.dumps([self.text, *self.choices]).encode()).hexdigest()[:16]


Questions = Mapping[str, Question]
"""Questions by the key that their answers have."""


def prompt_for(questions: Questions, introduction: str) -> str:
    """What a model is asked, for an answer to all questions at once."""
    lines = [f"- {_quoted(key)} ({' or '.join(each.choices)}): {each.text}" for key, each in questions.items()]
    form = _quoted({key: "|".join(each.choices) for key, each in questions.items()})
    return "\n".join(
        [
            introduction,
            *lines,
            "Reply with one JSON object and nothing else. It has each of the keys once, with one of its choices:",
            form,
        ]
    )


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def schema_for(questions: Questions) -> dict[str, Any]:
    """The JSON schema of such an answer."""
    return {
        "type": "object",
        "properties": {key: {"type": "string", "enum": [*each.choices]} for key, each in questions.items()},
        "required": [*questions],
        "additionalProperties": False,
    }


def _asked(texts: Mapping[str, str]) -> dict[str, Question]:
    return {key: Question(text=text) for key, text in texts.items()}


SEMANTIC_FILTER = _asked(
    {
        "slideshow": "Is it a sequence of still pictures rather than moving footage?",
        "synthetic_video": "Was the picture generated or rendered by a computer rather than filmed by a camera?",
        "visual_filter": "Has a visible filter, such as a colour effect or heavy grading, been laid over the footage?",
        "post_production_text": "Were titles, captions, logos or other text added to the picture after filming? Text "
        "in the scene itself does not count.",
        "video_in_video": "Is another video or picture inset in the picture, or is the picture split into several?",
        "photographic_artifacts": "Does the picture have faults such as compression blocks, banding, heavy noise, "
        "flicker or lens flare?",
        "distorted_view": "Is the view distorted, as by a fisheye lens or a wrong aspect ratio?",
        "rotated_view": "Is the picture on its side, upside down or clearly tilted?",
        "low_resolution": "Is the picture so coarse or pixelated that details are lost?",
        "blurred_region": "Has a part of the picture been blurred or pixelated on purpose, such as a face or a plate?",
        "abrupt_camera_motion": "Does the camera shake, jerk or whip about suddenly?",
        "fast_zoom": "Does the view zoom in or out rapidly?",
        "unnatural_speed": "Is the motion sped up, slowed down or played backwards?",
    }
)
"""The criteria of NVIDIA Cosmos-Curate's semantic filter that decide; a yes to any speaks against the window."""

_LABELS = {
    "movie/film_scene": "a scene of a feature film",
    "tv_drama/tv_series": "a scene of a television drama or series",
    "animation": "animation, drawn or made by computer",
    "cartoon": "a cartoon",
    "video_game": "footage of a video game",
    "news_reporting": "a news report or news studio",
    "talk_show": "a talk show or a conversation before an audience",
    "product_review/unboxing": "a product that is reviewed or unpacked",
    "how_to/demo": "instructions or a demonstration of how something is done",
    "digital_illustration/digital_text": "digital drawings, slides or text on a screen",
    "visual_pattern": "abstract patterns, textures or visual effects",
    "egocentric_video/walking_POV": "footage from the eyes of a person who walks or works",
    "vehicle_POV": "the view from a moving vehicle",
    "aerial_footage": "footage from a drone, an aircraft or another high point in the air",
    "travel/luggage/plane": "travel: luggage, airports, aircraft or tourism",
    "food/drink": "food or drink as a main subject",
    "cooking": "somebody who cooks or prepares food",
    "sports/exercise": "sports or physical exercise",
    "clothing/fashion/makeup": "clothing, fashion or make-up as a main subject",
    "exterior_building/cityscape": "the outside of buildings, streets or a city",
    "interior_spaces": "the inside of rooms or buildings",
    "nature_environment": "nature: landscapes, water, plants or weather",
    "animal/insect/wildlife": "animals in the wild, or insects",
    "pets": "pets",
    "person/crowd": "a person or a crowd as a main subject",
    "talking_head": "one person who speaks to the camera",
    "other": "something that none of the other labels describes",
}

VIDEO_TYPE = _asked({label: f"Does the clip show {shown}?" for label, shown in _LABELS.items()})
"""The labels of NVIDIA Cosmos-Curate's classifier; a window may have several."""

PRESETS: Mapping[str, Questions] = {"semantic_filter": SEMANTIC_FILTER, "video_type": VIDEO_TYPE}
"""The lists that are there by name."""


def same_key(key: str) -> str:
    """A key as it is compared: models write spaces where there are underscores."""
    return key.strip().replace(" ", "_")


def together(lists: Mapping[str, Questions], names: Sequence[str]) -> dict[str, Question]:
    """The questions of several lists, to be asked in one request: each once.

    Raises:
        ValueError: there is no such list, or two questions have one key.
    """
    found: dict[str, Question] = {}
    keys: dict[str, str] = {}
    for name in names:
        if name not in lists:
            raise ValueError(f"there is no list of questions {name!r}; there are {', '.join(sorted(lists))}")
        for key, question in lists[name].items():
            if found.get(key) == question:
                continue
            if (taken := keys.setdefault(same_key(key), key)) != key or key in found:
                raise ValueError(f"the key {key!r} in the list {name!r} is taken by another question, {taken!r}")
            found[key] = question
    return found

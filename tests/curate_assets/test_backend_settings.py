"""Each backend has its own settings; what was stored before they had keeps its fingerprints."""

import hashlib
from typing import Any

import pytest

from curate_assets.graph.platform import ConfigError
from curate_assets.graphs import GRAPH
from curate_assets.settings.resolve import merged, validated
from curate_resources.pipeline.fingerprints import made_by

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROMPT = (
    "Describe this video clip in detail. Say who and what is visible, where it takes place, how people, objects and "
    "the camera move, and how lighting, colour and framing look. Then say what happens from beginning to end and what "
    "it seems to be about. Describe only what the frames show."
)
ASKED = {
    "backend": "none",
    "model": None,
    "revision": None,
    "prompt": PROMPT,
    "max_tokens": 1024,
    "temperature": 0.1,
    "top_p": 0.001,
    "repetition_penalty": 1.05,
    "window_frames": 256,
    "remainder_frames": 128,
    "max_frames": 768,
}
SERVED = {"backend": "openai", "model": "seer"}
LOADED = {"backend": "transformers", "model": "owner/name", "revision": COMMIT}
VERDICTS = {
    "frame_rate_min": None,
    "motion_global_mean_min": None,
    "motion_peak_min": 2e-05,
    "motion_per_patch_min": None,
    "seconds_max": None,
    "seconds_min": None,
    "short_side_min": None,
}

# As the version without backends of their own gave them: the dict, and the digest of the whole recipe.
BEFORE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "storyboards",
        {},
        {"frames_per_second": 2.0, "short_side": 480, "jpeg_quality": 90},
        "2e57cf6bfb2325265bdf8f7360553e4d",
    ),
    ("clip_selection", {}, VERDICTS, "03511532f71553b0856dd7f6c803f0fe"),
    (
        "clip_embeddings",
        {},
        {"backend": "efficientnet_lite0", "model": None, "revision": None},
        "2942a116fec62f3ce1df662cea62b32d",
    ),
    (
        "clip_embeddings",
        {"backend": "clip", "model": "owner/name", "revision": COMMIT},
        {"backend": "clip", "model": "owner/name", "revision": COMMIT},
        "d59eb9e84ba995350e5af52b42cb8dbb",
    ),
    (
        "clip_embeddings",
        {"backend": "siglip", "model": "owner/name", "revision": COMMIT, "device": "cuda"},
        {"backend": "siglip", "model": "owner/name", "revision": COMMIT},
        "626cc6cba3cd9470b9fe66ee9ff9f250",
    ),
    ("captions", {}, ASKED, "e43c09715b6796c10d6545f08ac143d6"),
    (
        "captions",
        {"prompt": "What?", "window_frames": 128},
        ASKED | {"prompt": "What?", "window_frames": 128},
        "390804a1d578eff7f5f6d5c95c7ee0aa",
    ),
    (
        "captions",
        SERVED | {"endpoint": "http://h/v1", "concurrency": 2, "timeout_seconds": 9},
        ASKED | SERVED,
        "52fe76a94b7a1018c6686d7aa3f2014d",
    ),
    (
        "captions",
        SERVED | {"endpoint": "http://h/v1", "revision": "r7", "temperature": 0.5, "max_tokens": 99},
        ASKED | SERVED | {"revision": "r7", "temperature": 0.5, "max_tokens": 99},
        "66f353ffd4440938ccf8f5503c213334",
    ),
    (
        "captions",
        LOADED | {"top_p": 0.9, "repetition_penalty": 1, "device": "cpu", "max_frames": 32, "remainder_frames": 64},
        ASKED | LOADED | {"top_p": 0.9, "repetition_penalty": 1.0, "max_frames": 32, "remainder_frames": 64},
        "4f481dcf9bfedb977dc755200853c2ea",
    ),
]


@pytest.mark.parametrize(("table", "given", "settings", "digest"), BEFORE)
def test_fingerprints_stay_as_they_were(
    table: str, given: dict[str, Any], settings: dict[str, Any], digest: str
) -> None:
    config = validated({table: given})
    assert getattr(config, table).settings() == settings
    recipe = made_by(table, GRAPH.tables[table].recipe(config))
    assert hashlib.sha256(recipe.encode()).hexdigest()[:32] == digest


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"captions": {"backend": "opnai"}}, "captions.backend: there is no backend 'opnai'; did you mean 'openai'?"),
        (
            {"captions": {"endpoint": "http://h/v1"}},
            "captions.endpoint: backend none has no such setting, openai and gemini have it: set captions.backend",
        ),
        ({"captions": {"backend": "openai", "model": "m"}}, "captions.endpoint: backend openai needs it. Base URL"),
        ({"captions": {"promt": "What?"}}, "captions.promt: unknown key; did you mean 'prompt' or 'prompt_file'?"),
        (
            {"clip_embeddings": {"model": "a/b"}},
            "clip_embeddings.model: backend efficientnet_lite0 has no such",
        ),
        ({"clip_embeddings": {"model": "a/b"}}, "and openai have it: set clip_embeddings.backend, or remove"),
        ({"endpoint": "http://h/v1"}, "or 'captions.endpoint'"),
        ({"captions": 3}, "captions: must be a mapping of settings (got 3)"),
    ],
)
def test_what_a_backend_does_not_have_is_an_error_that_says_what_to_write(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        validated(given)
    assert said in str(error.value)


def test_a_run_that_names_another_backend_keeps_what_both_have() -> None:
    stored = {"captions": SERVED | {"endpoint": "http://h/v1", "prompt": "What?"}, "clips": {"min_seconds": 3}}
    both = merged(stored, {"captions": {"backend": "none"}})
    assert both == {"captions": {"backend": "none", "prompt": "What?"}, "clips": {"min_seconds": 3}}
    assert validated(both)
    assert merged(stored, {"captions": {"backend": "openai", "model": "m"}})["captions"]["endpoint"] == "http://h/v1"

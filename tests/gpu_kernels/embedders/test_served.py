"""Embeddings by a server on loopback."""

import base64
import io
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from gpu_kernels.embedders.served import ServedEmbeddingsConfig
from gpu_kernels.embedders.types import embedded
from gpu_kernels.errors import OperatingError


def config(url: str, **settings: Any) -> ServedEmbeddingsConfig:
    return ServedEmbeddingsConfig.model_validate(
        {"endpoint": f"{url}/v1", "model": "vlm2vec", "backoff_seconds": 0} | settings
    )


def colours(body: Any) -> list[float]:
    """The mean colour of a message's pictures, or a text's length."""
    parts = body["messages"][0]["content"]
    if parts[0]["type"] == "text":
        return [float(len(parts[0]["text"])), 1.0, 1.0]
    pictures = []
    for part in parts:
        kind, data = part["image_url"]["url"].split(",")
        assert kind == "data:image/jpeg;base64"
        pictures.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).mean((0, 1)))
    return np.mean(pictures, 0).tolist()


def answer(asked: Any, _: int) -> Any:
    if asked.path == "/v1/models":
        return 200, {}, {"data": [{"id": "vlm2vec"}]}
    assert (asked.path, asked.body["model"]) == ("/v1/embeddings", "vlm2vec")
    return 200, {}, {"data": [{"embedding": colours(asked.body)}]}


def frame(*colour: int) -> np.ndarray:
    return np.full((48, 64, 3), colour, np.uint8)


def test_a_clip_is_one_message_with_its_frames(answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    clip = [frame(250, 10, 10), frame(10, 250, 10), frame(250, 10, 10), frame(10, 10, 250)]
    with answering(answer) as (url, seen):
        vector, used = embedded(config(url).load(), clip)
        (asked,) = seen
        assert used == len(asked.body["messages"][0]["content"]) == 4
        assert asked.headers["Authorization"] == "Bearer secret"
        mean = np.mean(clip, axis=(0, 1, 2))
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=0.01)
        # The first and third alone, by a model that the server names.
        found = config(url, model=None, revision="1", frames=2).load()
        np.testing.assert_allclose(embedded(found, clip)[0], np.array([250, 10, 10]) / 250.4, atol=0.01)
        assert (found.name, found.revision) == ("vlm2vec", "1")
        words = config(url).load_text().embed_text(["red", "a car"])
        np.testing.assert_allclose(words, [[3, 1, 1] / np.sqrt(11), [5, 1, 1] / np.sqrt(27)], atol=1e-6)


def test_a_busy_server_is_asked_three_times(answering: Any) -> None:
    with answering(lambda asked, number: answer(asked, 0) if number % 3 == 2 else (503, {}, {})) as (url, seen):
        config(url).load().embed_clip([frame(9, 9, 9)])
        assert len(seen) == 3
        with pytest.raises(OperatingError, match="503"):
            config(url, attempts=2).load().embed_clip([frame(9, 9, 9)])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": []},
        {"data": [{"embedding": []}]},
        {"data": [{"embedding": [0.0, 0.0]}]},
        {"data": [{"embedding": "a"}]},
    ],
)
def test_what_is_no_vector_is_an_error(answering: Any, document: Any) -> None:
    with (
        answering(lambda asked, number: (200, {}, document)) as (url, _),
        pytest.raises(OperatingError, match="no embedding that can be used"),
    ):
        config(url).load().embed_clip([frame(9, 9, 9)])


@pytest.mark.parametrize("document", [{"error": "none"}, {"data": None}, ["vlm2vec"], {"data": [{}]}])
def test_a_server_that_lists_no_models_is_an_error_that_says_what_to_set(answering: Any, document: Any) -> None:
    with (
        answering(lambda asked, number: (200, {}, document)) as (url, _),
        pytest.raises(OperatingError, match=r"no list of models .*: name one in `model`"),
    ):
        config(url, model=None, revision="1").load().embed_clip([frame(9, 9, 9)])


def test_an_answer_that_is_no_json_is_shown(answering: Any) -> None:
    with (
        answering(lambda asked, number: (200, {}, b"<html>Sign in")) as (url, _),
        pytest.raises(OperatingError, match="the server's answer is not JSON: <html>Sign in"),
    ):
        config(url).load().embed_clip([frame(9, 9, 9)])


def test_another_length_is_an_error(answering: Any) -> None:
    with answering(lambda _, number: (200, {}, {"data": [{"embedding": [1.0] * (number + 2)}]})) as (url, _):
        embedder = config(url).load()
        embedder.embed_clip([frame(9, 9, 9)])
        with pytest.raises(OperatingError, match="3 numbers after 2"):
            embedder.embed_clip([frame(9, 9, 9)])


def test_texts_are_asked_at_the_same_time(answering: Any) -> None:
    together = threading.Barrier(4, timeout=10)

    def waiting(asked: Any, number: int) -> Any:
        together.wait()
        return answer(asked, number)

    with answering(waiting) as (url, _):
        rows = config(url, concurrency=4).load_text().embed_text(["a", "bb", "ccc", "dddd"])
    assert (np.diff(rows[:, 0]) > 0).all()


def test_a_server_without_a_label_is_refused() -> None:
    with pytest.raises(ValidationError, match="revision"):
        ServedEmbeddingsConfig(endpoint="http://127.0.0.1:1/v1")
    assert config("http://127.0.0.1:1", revision="2").identity() == ("vlm2vec", "2")
    # Where a server is does not make vectors stale.
    assert config("http://a").settings() == config("http://b", concurrency=3).settings()

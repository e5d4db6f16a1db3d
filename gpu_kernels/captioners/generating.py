"""What a network of transformers writes, in this process and one answer at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpu_kernels.captioners.types import AskedConfig, Caption


def generated(
    network: Any, tokenizer: Any, inputs: Mapping[str, Any], config: AskedConfig, seed: int, least: int = 0
) -> Caption:
    """The answer to inputs, which are on the network's device.

    Args:
        seed: of the sampling; the random state outside stays as it is.
        least: new tokens that there are before the answer may end.

    Raises:
        ValueError: the inputs and an answer are more tokens than the network takes.
    """
    import torch

    prompt_tokens = int(inputs["input_ids"].shape[1])
    most = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    if most is not None and prompt_tokens + config.max_tokens > most:
        raise ValueError(
            f"the prompt, with frames if there are any, is {prompt_tokens} tokens; with an answer of max_tokens "
            f"({config.max_tokens}) that is more than the {most} that the model takes: lower max_tokens or max_frames"
        )
    seeded = [network.device] if network.device.type == "cuda" else []
    with torch.inference_mode(), torch.random.fork_rng(devices=seeded):
        torch.manual_seed(seed)
        output = network.generate(
            **inputs,
            **_sampling(config),
            **({"min_new_tokens": least} if least else {}),
            max_new_tokens=config.max_tokens,
            repetition_penalty=config.repetition_penalty,
        )
    answer = output[0, prompt_tokens:]
    ended = answer[-1].item() in np.atleast_1d(network.generation_config.eos_token_id)
    text = tokenizer.decode(answer, skip_special_tokens=True).strip()
    counts = (prompt_tokens, len(answer))
    if not text:
        return Caption(None, "error", "the answer is empty", *counts)
    return Caption(text, "success" if ended else "truncated", None, *counts)


def _sampling(config: AskedConfig) -> dict[str, Any]:
    # The likeliest token alone almost always exceeds so small a top_p: sampling would be a slower greedy choice.
    if config.temperature == 0 or config.top_p <= 0.01:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": config.temperature, "top_p": config.top_p, "top_k": 0}

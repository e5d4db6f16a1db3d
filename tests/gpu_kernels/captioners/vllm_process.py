"""Asks the real vLLM, in the environment that has it: `python vllm_process.py MODEL_FOLDER`, prints JSON.

Windows are asked one after another, then all at once in another order while the process that holds the model is killed;
then with their frames prepared by vLLM itself, and with the name of their clip as digest.
"""

import asyncio
import io
import json
import random
import sys
import time
from typing import Any

import numpy as np
import psutil
from PIL import Image

from gpu_kernels.captioners.asking import Asker
from gpu_kernels.captioners.types import Caption, CaptionRequest
from gpu_kernels.captioners.vllm_engine import Patches, VllmCaptionsConfig

WINDOWS, KILLED_AFTER = 50, 10


def jpeg(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(coarse).resize((160, 96), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def window(number: int, frames: int = 3) -> CaptionRequest:
    return CaptionRequest([jpeg(100 * number + k) for k in range(frames)], [0.5 * k for k in range(frames)])


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]


def gone(before: set[int]) -> list[str]:
    """What is still there of the children that came, after at most 10 seconds."""
    for _ in range(100):
        left = [each for each in children() if each.pid not in before and "resource_tracker" not in str(each.cmdline())]
        if not left:
            return []
        time.sleep(0.1)
    return [" ".join(each.cmdline()) for each in left]


async def main(folder: str) -> dict[str, Any]:
    before = {each.pid for each in children()}
    config = VllmCaptionsConfig(
        model=folder, max_tokens=24, top_p=1, temperature=0, max_num_seqs=8, max_model_len=2048, cpu_cache_gib=1
    )
    engine: Any = config.load()
    unfit = {WINDOWS: CaptionRequest([b"\xff\xd8 no picture"], [0.0]), WINDOWS + 1: window(7, frames=40)}
    requests = {number: window(number) for number in range(WINDOWS)} | unfit
    alone = {number: await engine.caption(requests[number], f"alone-{number}") for number in range(WINDOWS)}
    asker, answers, killed = Asker(engine, 1 << 24), dict[int, Caption](), list[str]()

    async def ask(number: int) -> None:
        async def read() -> CaptionRequest:
            return requests[number]

        answers[number] = await asker.ask(read, sum(map(len, requests[number].frames)), f"clip-{number // 2}")
        if len(answers) == KILLED_AFTER:
            holder = next(each for each in children() if each.name().startswith("VLLM::Worker"))
            killed.append(holder.name())
            holder.kill()

    order = list(requests)
    random.Random(1).shuffle(order)
    await asyncio.gather(*map(ask, order))
    engine._form = engine._as_frames
    frames = [await engine.caption(requests[number], f"frames-{number}") for number in range(WINDOWS)]
    engine._form, digest = engine._as_patches, Patches.digest
    named = []
    for number in range(WINDOWS):
        Patches.digest = f"clip-{number // 2}"  # pyright: ignore[reportAttributeAccessIssue]
        named.append(await engine.caption(requests[number], f"named-{number}"))
    Patches.digest = digest
    schema = {"type": "object", "properties": {"night": {"enum": ["yes", "no"]}}, "required": ["night"]}
    constrained = await engine.caption(
        CaptionRequest(requests[0].frames, requests[0].times_s, prompt="Is it night?", schema=schema), "schema"
    )
    await asker.close()
    return {
        "alone": [alone[number].__dict__ for number in range(WINDOWS)],
        "together": [answers[number].__dict__ for number in range(WINDOWS)],
        "frames": [each.__dict__ for each in frames],
        "named": [each.__dict__ for each in named],
        "planned_tokens": engine._prepared(requests[0]).tokens,
        "unfit": [answers[number].__dict__ for number in unfit],
        "constrained": constrained.__dict__,
        "killed": killed,
        "left": gone(before),
    }


if __name__ == "__main__":
    print("\n" + json.dumps(asyncio.run(main(sys.argv[1]))))

"""Asks the real vLLM about windows, in the environment that has it, and prints JSON.

    python vllm_process.py SETTINGS WINDOWS

Windows are asked one after another; all at once in another order; with their frames prepared by vLLM itself; and, as
nobody should do it, with one name for the pixels of two windows.

Args:
    SETTINGS: of `captions`, as JSON.
    WINDOWS: a file with the frames of each, by its key.
"""

import asyncio
import json
import random
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import psutil

from gpu_kernels.captioners.asking import Asker
from gpu_kernels.captioners.types import Caption, CaptionRequest
from gpu_kernels.captioners.vllm_engine import VllmCaptionsConfig
from gpu_kernels.captioners.vllm_windows import Patches


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


async def main(settings: dict[str, Any], shown: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    before = {each.pid for each in children()}
    engine: Any = VllmCaptionsConfig.model_validate(settings).load()
    windows = {
        key: CaptionRequest([b64decode(each["jpeg"]) for each in frames], [each["second"] for each in frames])
        for key, frames in shown.items()
    }
    some = next(iter(windows.values()))
    long = CaptionRequest(some.frames[:1] * 60, [0.5 * k for k in range(60)])
    asked = windows | {"broken": CaptionRequest([b"\xff\xd8 no picture"], [0.0]), "long": long}

    async def one_by_one(name: str) -> dict[str, Any]:
        return {key: vars(await engine.caption(window, f"{name}-{key}")) for key, window in windows.items()}

    alone = await one_by_one("alone")
    asker, together = Asker(engine, 1 << 24), dict[str, Caption]()

    async def ask(key: str) -> None:
        async def read() -> CaptionRequest:
            return asked[key]

        together[key] = await asker.ask(read, sum(map(len, asked[key].frames)), key)

    order = [*asked]
    random.Random(1).shuffle(order)
    await asyncio.gather(*map(ask, order))

    engine.prepared._form = engine.prepared.as_frames
    frames = await one_by_one("frames")
    engine.prepared._form, digest = engine.prepared.as_patches, Patches.digest
    named: dict[str, Any] = {}
    for number, (key, window) in enumerate(windows.items()):
        Patches.digest = f"clip-{number // 2}"  # pyright: ignore[reportAttributeAccessIssue]
        named[key] = vars(await engine.caption(window, f"named-{key}"))
    Patches.digest = digest

    schema = {"type": "object", "properties": {"night": {"enum": ["yes", "no"]}}, "required": ["night"]}
    question = CaptionRequest(some.frames, some.times_s, prompt="Is it night?", schema=schema)
    constrained = vars(await engine.caption(question, "schema"))
    planned = [engine.prepared(window).tokens for window in windows.values()]
    await asker.close()

    def compared(captions: dict[str, Caption]) -> dict[str, Any]:
        return {key: vars(captions[key]) | {"seconds": None} for key in windows}

    return {
        "alone": alone,
        "together": compared(together),
        "frames": frames,
        "named": named,
        "planned": planned,
        "unfit": [vars(together[key]) for key in ("broken", "long")],
        "constrained": constrained,
        "left": gone(before),
    }


if __name__ == "__main__":
    told = asyncio.run(main(json.loads(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())))
    print("\n" + json.dumps(told))

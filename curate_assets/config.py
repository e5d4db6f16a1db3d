"""The whole configuration: one strict schema for the UI, the command line and `curate.yaml`.

Each section is defined beside the code that it steers, with its defaults and what they mean; here they come together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from curate_resources.storage import Storage
from curate_resources.suggestions import did_you_mean, wrong_settings
from gpu_kernels.captioners import CaptionsConfig
from gpu_kernels.clip_encoding import ClipFilesConfig
from gpu_kernels.clips import ClipsConfig
from gpu_kernels.duplicates import DuplicateGroupsConfig, DuplicatePairsConfig
from gpu_kernels.embedders import ClipEmbeddingsConfig
from gpu_kernels.errors import UserError
from gpu_kernels.motion import MotionSignalsConfig
from gpu_kernels.sandbox import DecodingLimits
from gpu_kernels.selection import ClipSelectionConfig
from gpu_kernels.shots import ShotSignalsConfig
from gpu_kernels.storyboards import StoryboardsConfig
from gpu_kernels.strict import StrictModel

CONFIG_FILE = "curate.yaml"
PRESETS_FOLDER = "presets"
SHIPPED_PRESETS = {"cosmos": Path(__file__).with_name("cosmos.yaml")}
"""Presets that every root has; a file of that name under the root goes before it."""


class StageResources(StrictModel):
    """What the workers of one stage occupy; what is not said is what the stage asks for by itself."""

    cpus: float | None = Field(default=None, ge=0)
    """CPUs of one worker."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs of one worker: a fraction of one, which it shares with other workers, or whole ones."""
    memory_gib: float | None = Field(default=None, ge=0)
    """GiB of main memory of one worker, as Ray counts it: fewer workers are placed where it is scarce."""
    min_workers: int | None = Field(default=None, ge=1)
    """Workers that must have their place before a run starts."""
    max_workers: int | None = Field(default=None, ge=1)
    """Most workers of a run."""

    @model_validator(mode="after")
    def _whole_or_shared(self) -> "StageResources":
        if self.gpus is not None and self.gpus > 1 and not self.gpus.is_integer():
            raise ValueError(f"gpus is a fraction of one device or a number of whole ones, not {self.gpus:g}")
        return self


class EngineConfig(StrictModel):
    """Where stages run. Never changes a result."""

    kind: Literal["auto", "in_process", "ray"] = "auto"
    """`ray` streams through actor pools, `in_process` runs here; `auto` does here what is cheap or was done before, and
    starts Ray when more than two videos need pixels or models."""
    layout: Literal["auto", "fused", "pooled"] = "auto"
    """`fused` runs all stages of a plan in each actor, `pooled` gives every heavy stage actors of its own; `auto` fuses
    on up to four CPUs."""
    mode: Literal["auto", "streaming", "batch"] = "auto"
    """`streaming` passes videos from stage to stage, `batch` runs stage after stage through the tables, for a GPU that
    cannot hold all models at once; `auto` streams unless the cluster has no room for one worker of each stage."""
    cpus: int | None = Field(default=None, ge=1)
    """CPUs of the local Ray cluster; all of them where not said."""
    environments: dict[str, str] = Field(default_factory=dict)
    """By stage, the Python that its workers run in: an interpreter's path, or `pixi:` and the name of an environment of
    `pixi.toml`. It must have this project's dependencies; where not said, the run's own."""
    stages: dict[str, StageResources] = Field(default_factory=dict)
    """By stage (`probe`, `scan`, `split`, `score_motion`, `embed`, `select`, `caption`, `cut`), what its workers occupy
    where that is not what the stage asks for, such as `scan: {gpus: 0.25}`: `cpus` and `memory_gib` of one worker; its
    `gpus`, a fraction of one device or whole ones; `min_workers`, which must have their place before a run starts, and
    `max_workers`."""


class ClusterConfig(StrictModel):
    """Which Ray cluster the work runs on. Never changes a result."""

    mode: Literal["local", "cluster", "kuberay"] = "local"
    """`local`: this machine, on the warm cluster of `curate up` if there is one. `cluster`: a cluster that is there, to
    which runs are submitted as jobs. `kuberay`: a cluster of its own for every run, made by the KubeRay operator."""
    address: str = "http://127.0.0.1:8265"
    """URL of the job server of `mode: cluster`, which is the dashboard of the cluster's head."""
    token_path: str | None = None
    """File with the cluster's token; where not said, `RAY_AUTH_TOKEN_PATH` or `RAY_AUTH_TOKEN`."""
    python: str = "python"
    """The Python that jobs are started with, as the machines of the cluster find it."""
    namespace: str = "default"
    """Kubernetes namespace of `mode: kuberay`."""
    kuberay_template: str = ""
    """YAML file with the RayCluster that `mode: kuberay` makes for every run: its image, head and worker groups."""
    capacity_cpus: float | None = Field(default=None, gt=0)
    """CPUs that an autoscaling cluster can grow to on one machine; where not said, what there is now."""
    capacity_gpus: float = Field(default=0, ge=0)
    """Likewise, GPUs."""
    answer_seconds: float = Field(default=120, gt=0)
    """How long a cluster or job server that does not answer is waited for. The run then ends; where only the warm
    cluster does not answer, it starts one of its own."""
    queue_minutes: float | None = Field(default=360, gt=0)
    """How long a run waits for its place in a cluster that is full, or for its job to begin; `null`: for ever."""

    @property
    def queue_seconds(self) -> float | None:
        """The same in seconds."""
        return None if self.queue_minutes is None else self.queue_minutes * 60

    @model_validator(mode="after")
    def _complete(self) -> "ClusterConfig":
        if self.mode == "kuberay" and not self.kuberay_template:
            raise ValueError("mode: kuberay needs kuberay_template, a YAML file with the RayCluster to make")
        return self


class TrainingDatasetConfig(StrictModel):
    """How the training set is laid out."""

    version: str = Field(default="v0", pattern=r"^[A-Za-z0-9._-]+$")
    """First part of every path in the dataset."""
    min_seconds: float = Field(default=0.0, ge=0)
    """Shorter clips are left out. Those of less than 5 s have a duration bin of their own, such as `0_5`."""
    max_aspect_ratio: float | None = Field(default=None, gt=0)
    """Clips that are wider for their height are left out; `null`: those beyond 10 have a bin of their own, `wide`."""
    tar_mib: int = Field(default=500, ge=1)
    """A tar is closed when it reaches this size."""
    tars_per_part: int = Field(default=100, ge=1)
    """Tars in one `part_` folder."""
    require_caption: bool = False
    """Whether clips without any caption are left out."""


class ChecksConfig(StrictModel):
    """What the asset checks accept."""

    max_failed_share: float = Field(default=0.5, ge=0, le=1)
    """Greatest share of failed rows in a table of a shard; of fewer than `min_rows` rows, more is only a warning. Of
    `source_videos`, its check stops what comes after."""
    max_damaged_share: float = Field(default=0.05, ge=0, le=1)
    """Greatest share of frames of a shard that are damaged or could not be decoded."""
    max_rejected_share: float = Field(default=0.95, ge=0, le=1)
    """Greatest share of rejected clips of a shard."""
    max_uncaptioned_share: float = Field(default=0.1, ge=0, le=1)
    """Greatest share of a shard's windows that a captioner was asked about without success."""
    max_duplicate_share: float = Field(default=0.8, ge=0, le=1)
    """Greatest share of the selected clips of all shards that are duplicates of others."""
    max_rejection_change: float = Field(default=0.3, ge=0, le=1)
    """Greatest difference between the share of clips that a reason rejects in a shard, and in other shards."""
    max_shot_length_factor: float = Field(default=2.0, ge=1)
    """How many times as long, or as short, as in other shards shots may be."""
    min_embedding_similarity: float = Field(default=0.5, ge=-1, le=1)
    """Least cosine between the mean embedding of a shard and that of other shards."""
    history_shards: int = Field(default=30, ge=1)
    """Other shards that a shard is compared with at most: those that were made last with the same settings."""
    min_history: int = Field(default=3, ge=1)
    """Other shards that there must be, for a shard to be compared with them."""
    min_rows: int = Field(default=20, ge=1)
    """Files, clips, shots or windows that a shard must have for shares and distributions of them to be judged."""


class PricesConfig(StrictModel):
    """What computing and storing costs, for the estimates beside each materialization; costs whose price is `null` are
    omitted. Never changes a result."""

    cpu_hour: float | None = Field(default=None, ge=0)
    """Price of one CPU for an hour."""
    gpu_hour: float | None = Field(default=None, ge=0)
    """Price of one GPU for an hour."""
    gib_month: float | None = Field(default=None, ge=0)
    """Price of keeping one GiB for a month."""
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    """Currency of the prices, by its ISO 4217 code."""


class CurationConfig(StrictModel):
    """Everything that can be set, by section; a section is named after the asset that it steers."""

    preset: str | None = None
    """A preset whose settings hold where nothing else is said: `cosmos`, or a file of `<root>/presets`."""
    limits: DecodingLimits = DecodingLimits()
    shot_signals: ShotSignalsConfig = ShotSignalsConfig()
    motion_signals: MotionSignalsConfig = MotionSignalsConfig()
    storyboards: StoryboardsConfig = StoryboardsConfig()
    clips: ClipsConfig = ClipsConfig()
    clip_embeddings: ClipEmbeddingsConfig = ClipEmbeddingsConfig()
    clip_selection: ClipSelectionConfig = ClipSelectionConfig()
    duplicate_pairs: DuplicatePairsConfig = DuplicatePairsConfig()
    duplicate_groups: DuplicateGroupsConfig = DuplicateGroupsConfig()
    captions: CaptionsConfig = CaptionsConfig()
    clip_files: ClipFilesConfig = ClipFilesConfig()
    training_dataset: TrainingDatasetConfig = TrainingDatasetConfig()
    checks: ChecksConfig = ChecksConfig()
    prices: PricesConfig = PricesConfig()
    engine: EngineConfig = EngineConfig()
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> "CurationConfig":
        if self.duplicate_groups.min_similarity < self.duplicate_pairs.floor_similarity:
            raise ValueError(
                f"duplicate_groups.min_similarity ({self.duplicate_groups.min_similarity}) is below "
                f"duplicate_pairs.floor_similarity ({self.duplicate_pairs.floor_similarity}), where no pair is recorded"
            )
        if self.clips.splitter == "shots" and self.shot_signals.network == "none":
            raise ValueError("clips.splitter: shots needs a network; shot_signals.network: none goes with fixed_stride")
        return self


class ConfigError(UserError):
    """A configuration that is not valid; the message names every key."""


def resolve_config(storage: Storage, given: dict[str, Any] | None = None) -> CurationConfig:
    """The configuration that holds: defaults, then `<root>/curate.yaml`, then what was given.

    Raises:
        ConfigError: an unknown key or a bad value, named.
    """
    return validated(merged(stored_config(storage), on_preset(storage, given or {})))


def stored_config(storage: Storage) -> dict[str, Any]:
    """What `<root>/curate.yaml` says, on the preset that it names; nothing where there is none.

    Raises:
        ConfigError: it is no mapping of sections, or there is no such preset.
    """
    return on_preset(storage, own_config(storage))


def own_config(storage: Storage) -> dict[str, Any]:
    """What `<root>/curate.yaml` says itself; nothing where there is none.

    Raises:
        ConfigError: it is no mapping of sections.
    """
    if not storage.exists(CONFIG_FILE):
        return {}
    return parse_config(storage.read(CONFIG_FILE), storage.uri(CONFIG_FILE))


def on_preset(storage: Storage, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, with those of the preset that they name where they say nothing.

    Raises:
        ConfigError: there is no such preset, or it is no mapping of sections.
    """
    name = settings.get("preset")
    return merged(preset_settings(storage, str(name)) if name is not None else {}, settings)


def preset_settings(storage: Storage, name: str) -> dict[str, Any]:
    """What a preset says: `<root>/presets/<name>.yaml`, else the one of that name that comes with the platform.

    Raises:
        ConfigError: there is none, or it is no mapping of sections, or it names another preset.
    """
    path = preset_file(name)
    uri = storage.uri(path)
    if storage.exists(path):
        values = parse_config(storage.read(path), uri)
    elif name in SHIPPED_PRESETS:
        values = parse_config(SHIPPED_PRESETS[name].read_bytes(), str(SHIPPED_PRESETS[name]))
    else:
        known = [*SHIPPED_PRESETS, *presets(storage)]
        hint = did_you_mean(name, known) or f": write {uri}, with sections as in {CONFIG_FILE}"
        raise ConfigError(f"there is no preset {name!r} under {storage.root}{hint}")
    if "preset" in values:
        raise ConfigError(f"{uri} cannot name a preset: it is one")
    return values


def preset_file(name: str) -> str:
    """Where a preset lies, below the root."""
    return f"{PRESETS_FOLDER}/{name}.yaml"


def presets(storage: Storage) -> list[str]:
    """The names of the presets that lie under a root."""
    return [name.removesuffix(".yaml") for name in storage.files(PRESETS_FOLDER) if name.endswith(".yaml")]


def parse_config(text: str | bytes, name: str) -> dict[str, Any]:
    """YAML (or JSON) text as a mapping of sections.

    Raises:
        ConfigError: it is no such mapping.
    """
    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is no YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a mapping of sections such as `clips:`")
    return value


def validated(values: Mapping[str, Any], name: str = "the configuration") -> CurationConfig:
    """A configuration from plain values; `name` is what errors call it.

    Raises:
        ConfigError: with one line per key that is wrong.
    """
    try:
        return CurationConfig.model_validate(values)
    except ValidationError as error:
        lines = "\n  ".join(wrong_settings(error, CurationConfig))
        raise ConfigError(f"{name} is not valid:\n  {lines}") from error


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which those of `over` go before those of `base`, key by key."""
    both = dict(base)
    for key, value in over.items():
        below = both.get(key)
        both[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both

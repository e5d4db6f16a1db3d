"""The settings that every graph has: limits, checks, prices, engine and cluster. Those of assets stand beside them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar, cast

from pydantic import Field, create_model, field_validator, model_validator

from curate_assets.graph.root_graph import GraphChoice
from curate_resources.models.fetching import ModelsConfig
from curate_resources.telemetry.profiling import parsed
from gpu_kernels.backends import Backends
from gpu_kernels.errors import UserError
from gpu_kernels.sandbox import DecodingLimits
from gpu_kernels.strict import StrictModel

Section = TypeVar("Section", bound=StrictModel)

Agreement = Callable[[Any], None]
"""Sees that the sections of a configuration go together. Raises ValueError where they do not."""


class StageResources(StrictModel):
    """What the workers of one stage occupy; what is not said is what the stage asks for by itself."""

    cpus: float | None = Field(default=None, ge=0)
    """CPUs of one worker."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs of one worker: a fraction of one, which it shares with other workers, or whole ones."""
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    """In place of `gpus`: GiB of one GPU that a worker takes; the fraction follows from the device."""
    memory_gib: float | None = Field(default=None, ge=0)
    """GiB of main memory of one worker, as Ray counts it: fewer workers are placed where it is scarce."""
    workers: int | None = Field(default=None, ge=1)
    """Workers of a run, neither fewer nor more."""
    min_workers: int | None = Field(default=None, ge=1)
    """Workers that must have their place before a run starts."""
    max_workers: int | None = Field(default=None, ge=1)
    """Most workers of a run."""
    environment: str | None = None
    """The Python that its workers run in: an interpreter's path, or `pixi:` and the name of an environment."""

    @model_validator(mode="after")
    def _whole_or_shared(self) -> "StageResources":
        if self.gpus is not None and self.gpus > 1 and not self.gpus.is_integer():
            raise ValueError(f"gpus is a fraction of one device or a number of whole ones, not {self.gpus:g}")
        if self.gpus is not None and self.gpu_memory_gib is not None:
            raise ValueError("give gpus or gpu_memory_gib, not both")
        if self.workers is not None and (self.min_workers or self.max_workers):
            raise ValueError("give workers, or min_workers and max_workers, not both")
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
    """By stage, what `environment` in `stages` says."""
    stages: dict[str, StageResources] = Field(default_factory=dict)
    """By stage, what its workers occupy where that is not what the stage asks for: `cpus`; `gpus`, a fraction of one
    device or whole ones, or else `gpu_memory_gib`, which chooses the fraction; `memory_gib`; how many `workers` there
    are, or `min_workers`, which must have their place before a run starts, and `max_workers`; and `environment`, the
    Python that they run in: an interpreter's path, or `pixi:` and the name of an environment of `pixi.toml`
    ([resources of stages](operations.md#resources-of-stages))."""
    profile: str = ""
    """What is profiled: `cpu`, `memory`, `gpu` and `events`, with commas between, each of all stages or, as in
    `cpu:embed`, of one ([profiles](observability.md#profiles))."""

    @field_validator("profile")
    @classmethod
    def _profiles_that_there_are(cls, asked: str) -> str:
        parsed(asked)
        return asked

    @property
    def environment_of(self) -> dict[str, str]:
        """The environments of stages that have one of their own."""
        own = {name: stage.environment for name, stage in self.stages.items() if stage.environment is not None}
        return {**self.environments, **own}

    @model_validator(mode="after")
    def _one_environment_each(self) -> "EngineConfig":
        for name, stage in self.stages.items():
            if stage.environment is not None and name in self.environments:
                raise ValueError(f"environments.{name} and stages.{name}.environment: give one of them")
        return self


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
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    """GiB of one GPU of the cluster, for stages that ask for `gpu_memory_gib`; where not said, the machines are asked
    (`nvidia-smi`)."""
    answer_seconds: float = Field(default=120, gt=0)
    """How long a cluster or job server that does not answer is waited for. The run then ends; where only the warm
    cluster does not answer, it starts one of its own."""
    queue_minutes: float | None = Field(default=360, gt=0)
    """How long a run waits for its place in a cluster that is full, or for its job to begin; `null`: for ever."""

    start_minutes: float | None = Field(default=60, gt=0)
    """Of `mode: kuberay`, how long a cluster may take to be ready, with machines that have to be started and images
    that have to be pulled; its RayJob then fails (`preRunningDeadlineSeconds`). A job that is suspended, as in a queue
    of Kueue, has no deadline. `null`: only `queue_minutes` holds."""
    pending_minutes: float | None = Field(default=5, gt=0)
    """Of `mode: kuberay`, how long a pod may be refused, without its image, or without a machine while none has been
    ordered for it. The run then ends with the reason; `null`: it only says so. More is needed where runs wait for each
    other's machines: better use a queue (Kueue), or limits of Dagster's pools."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the RayJobs of `mode: kuberay`, such as `kueue.x-k8s.io/queue-name`, besides those that the template's
    metadata has."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Likewise, annotations."""

    @property
    def queue_seconds(self) -> float | None:
        """The same in seconds."""
        return _seconds(self.queue_minutes)

    @property
    def start_seconds(self) -> float | None:
        """The same in seconds."""
        return _seconds(self.start_minutes)

    @property
    def pending_seconds(self) -> float | None:
        """The same in seconds."""
        return _seconds(self.pending_minutes)

    @model_validator(mode="after")
    def _complete(self) -> "ClusterConfig":
        if self.mode == "kuberay" and not self.kuberay_template:
            raise ValueError("mode: kuberay needs kuberay_template, a YAML file with the RayCluster to make")
        return self


def _seconds(minutes: float | None) -> float | None:
    return None if minutes is None else minutes * 60


class CheckLimits(StrictModel):
    """What the checks of an asset accept: keys of the section `checks`."""


class ChecksConfig(CheckLimits):
    """What the asset checks accept."""

    max_failed_share: float = Field(default=0.5, ge=0, le=1)
    """Greatest share of failed rows in a table of a shard; of fewer than `min_rows` rows, more is only a warning. Of
    the first table, its check stops what comes after."""
    max_score_change: float = Field(default=0.5, ge=0, le=1)
    """Greatest difference between the share of a shard's scores up to any value, and that of other shards."""
    history_shards: int = Field(default=30, ge=1)
    """Other shards that a shard is compared with at most: those that were made last with the same settings."""
    min_history: int = Field(default=3, ge=1)
    """Other shards that there must be, for a shard to be compared with them."""
    min_rows: int = Field(default=20, ge=1)
    """Rows of a kind that a shard must have for shares and distributions of them to be judged."""


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


class _Head(GraphChoice):
    """What stands above the sections of assets."""

    preset: str | None = None
    """A preset whose settings hold where nothing else is said: `cosmos`, or a file of `<root>/presets`."""
    limits: DecodingLimits = DecodingLimits()


class PlatformConfig(_Head):
    """The settings that do not depend on the graph."""

    checks: ChecksConfig = ChecksConfig()
    prices: PricesConfig = PricesConfig()
    models: ModelsConfig = ModelsConfig()
    engine: EngineConfig = EngineConfig()
    cluster: ClusterConfig = ClusterConfig()

    agreements: ClassVar[tuple[Agreement, ...]] = ()

    def section(self, name: str, kind: type[Section]) -> Section:
        """The section of an asset."""
        section = getattr(self, name)
        assert isinstance(section, kind), name
        return section

    @model_validator(mode="after")
    def _sections_agree(self) -> "PlatformConfig":
        for agreement in self.agreements:
            agreement(self)
        return self


def config_model(
    name: str,
    module: str,
    sections: Mapping[str, "type[StrictModel] | Backends[Any]"],
    limits: Sequence[type[CheckLimits]],
    agreements: Sequence[Agreement],
) -> type[PlatformConfig]:
    """The configuration of a graph whose assets have these sections, each named after its asset.

    Args:
        name, module: where the model will be found, so that it can be sent to workers; `checks` by its own name.
        limits: what the checks of assets accept, besides what all do.

    Raises:
        ValueError: two limits have one name.
    """
    keys = [key for each in (ChecksConfig, *limits) for key in each.model_fields]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"two assets have a limit checks.{twice[0]}")
    checks = create_model("ChecksConfig", __base__=(*reversed(limits), ChecksConfig), __module__=module)
    checks.__doc__ = ChecksConfig.__doc__
    fields: dict[str, Any] = {
        key: (kind.annotation, kind.default) if isinstance(kind, Backends) else (kind, kind())
        for key, kind in sections.items()
    }
    of_assets = create_model(f"{name}Sections", __base__=_Head, __module__=module, **fields)
    bases = (PlatformConfig, of_assets)
    model = cast(
        "type[PlatformConfig]", create_model(name, __base__=bases, __module__=module, checks=(checks, checks()))
    )
    model.__doc__ = "Everything that can be set, by section; a section is named after the asset that it steers."
    model.agreements = tuple(agreements)
    return model


class ConfigError(UserError):
    """A configuration that is not valid; the message names every key."""

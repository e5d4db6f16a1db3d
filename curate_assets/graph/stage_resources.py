"""What the workers of a stage occupy: what the stage declares, and over it what the configuration says."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from curate_assets.graph.platform import ConfigError, PlatformConfig
from curate_resources.declarations.stage import Needs, Stage
from curate_resources.suggestions import did_you_mean
from curate_resources.telemetry.profiling import parsed


def model_needs(device: str, gpus: float) -> Needs:
    """What a worker needs that loads a model onto a `device` of the configuration: auto, cpu or cuda.

    Args:
        gpus: the share of one GPU that the model takes.
    """
    return Needs() if device == "cpu" else Needs(gpus=gpus, gpus_if_any=device == "auto")


def with_resources(stages: Sequence[Stage], config: PlatformConfig, known: Collection[str]) -> tuple[Stage, ...]:
    """The stages as a configuration has them run. What has an environment of its own or needs a GPU counts as heavy.

    Args:
        known: the names of all stages that a configuration may speak of.

    Raises:
        ConfigError: it speaks of a stage that there is not, or gives one what it cannot run with.
    """
    engine = config.engine
    profiled = [stage for _, stage in parsed(engine.profile) if stage is not None]
    for key, names in (("stages", engine.stages), ("environments", engine.environments), ("profile", profiled)):
        for name in sorted(set(names) - set(known)):
            hint = did_you_mean(name, known) or f"; the stages are {', '.join(sorted(known))}"
            raise ConfigError(f"engine.{key}.{name}: there is no such stage{hint}")
    return tuple(_with_resources(stage, config) for stage in stages)


def _with_resources(stage: Stage, config: PlatformConfig) -> Stage:
    declared = stage.needs_of(config) if stage.needs_of is not None else stage.needs
    given = config.engine.stages.get(stage.name)
    settings = given.model_dump(exclude_none=True, exclude={"environment"}) if given is not None else {}
    if (workers := settings.pop("workers", None)) is not None:
        settings |= {"min_workers": workers, "max_workers": workers}
    if "gpus" in settings:
        settings["gpu_memory_gib"] = None
    elif "gpu_memory_gib" in settings:
        settings["gpus"] = declared.gpus or 1.0  # until the device is known
    if settings.get("gpus") == 0 and declared.gpus and not declared.gpus_if_any:
        raise ConfigError(
            f"engine.stages.{stage.name}.gpus is 0, but its model is set to run on a GPU (device: cuda): "
            "give it a share of one, or set the device to auto or cpu"
        )
    if declared.gpus > 1 and settings.get("gpus", declared.gpus) != declared.gpus:
        raise ConfigError(
            f"engine.stages.{stage.name}.gpus is {settings['gpus']:g}, but its model is divided among "
            f"{declared.gpus:g}: leave it out, or divide the model otherwise (tensor_parallel_size); copies are "
            "workers"
        )
    try:
        needs = replace(declared, **settings)
    except ValueError as error:
        raise ConfigError(f"engine.stages.{stage.name}: {error}") from error
    if stage.is_idle(config):
        return replace(stage, needs=Needs(), heavy=False)
    heavy = stage.heavy or needs.gpus > 0 or stage.name in config.engine.environment_of
    return replace(stage, needs=needs, heavy=heavy)

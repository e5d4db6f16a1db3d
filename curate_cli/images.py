"""The platform's images, built from a checkout and pushed by the container engine of this machine."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from curate_cli.printing import messages
from gpu_kernels.errors import NotThere, OperatingError, UserError

ENGINES: Mapping[str, tuple[str, ...]] = {
    "docker": ("version", "--format", "{{.Server.Version}}"),  # which fails where only its client is installed
    "podman": ("--version",),
    "buildah": ("--version",),
}
"""The engines that are looked for, in this order, and what each is asked to find out whether it works."""


class Environment(StrEnum):
    """Environments that workers of a stage can have to themselves, as `make env-NAME` makes them."""

    CORE = "core"
    VLLM = "vllm"


DOCKERFILE = Path("docker", "Dockerfile")
_ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Images:
    """What is built and pushed.

    Attributes:
        registry: registry and folder that goes before the names; empty: none.
        tag: of all images.
        environments: those that an image of workers is built with, one each.
        only: one target; None: `control`, `worker` and those of the environments.
    """

    registry: str = ""
    tag: str = field(default_factory=lambda: version("curate-graph"))
    environments: tuple[Environment, ...] = ()
    only: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """Target of the Dockerfile to name of the image."""
        targets = (
            (self.only,)
            if self.only
            else ("control", "worker", *(f"worker-{name.value}" for name in dict.fromkeys(self.environments)))
        )
        before = f"{self.registry.rstrip('/')}/" if self.registry else ""
        return {target: f"{before}curate-graph-{target}:{self.tag}" for target in targets}


def working_engine(wanted: str | None) -> str:
    """The engine that is asked for, or the first that works here.

    Raises:
        UserError: none does, with what each says.
    """
    said: list[str] = []
    for name in (wanted,) if wanted else ENGINES:
        if shutil.which(name) is None:
            said.append(f"{name} is not installed")
            continue
        try:
            asked = subprocess.run(
                [name, *ENGINES[name]], capture_output=True, text=True, errors="replace", timeout=_ANSWER_SECONDS
            )
        except subprocess.TimeoutExpired:
            said.append(f"{name} does not answer")
            continue
        if asked.returncode == 0:
            return name
        said.append(f"{name}: {(asked.stderr.strip().splitlines() or ['it does not work'])[-1]}")
    raise UserError(f"no container engine works here ({'; '.join(said)}): install docker, podman or buildah")


def build_command(engine: str, target: str, image: str, arguments: Mapping[str, str], more: Sequence[str]) -> list[str]:
    """The call that builds an image, in a checkout.

    Args:
        arguments: build arguments.
        more: what else the engine is told.
    """
    told = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    layers = ["--layers"] if engine == "buildah" else []  # which the others always keep
    return [engine, "build", *layers, "--file", str(DOCKERFILE), "--target", target, "--tag", image, *told, *more, "."]


def checkout(folder: Path) -> Path:
    """The folder, if images can be built from it.

    Raises:
        NotThere: it is no checkout of this project.
    """
    if not (folder / DOCKERFILE).is_file():
        raise NotThere(f"{folder} has no {DOCKERFILE}: images are built from a checkout of this project, see --source")
    return folder


def revision(folder: Path) -> str:
    """The commit that a checkout is at, with `-dirty` where files differ from it; empty if nothing says so."""
    asked = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
        capture_output=True,
        text=True,
    )
    return asked.stdout.strip()


def call(command: Sequence[str], folder: Path) -> None:
    """Run an engine, whose output goes to standard error.

    Raises:
        OperatingError: it failed; what it said went before.
    """
    done = subprocess.run(command, cwd=folder, stdout=messages().file, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise OperatingError(
            f"`{command[0]} {command[1]}` failed with exit code {done.returncode}; its output is above"
        )

"""The Python that a stage's workers run in, where it is not the project's own."""

from pathlib import Path

from gpu_kernels.errors import UserError

_PIXI = "pixi:"


def interpreter(stage: str, environment: str, project: Path | None = None) -> str:
    """The interpreter that `environment` names: a path, or `pixi:<name>`.

    Args:
        stage: whose environment it is.
        project: the folder with `pixi.toml`; the current folder where not said.

    Raises:
        UserError: there is no such interpreter, with the remedy.
    """
    path, remedy = Path(environment).expanduser(), "give the path of a Python that every machine of the cluster has"
    if environment.startswith(_PIXI):
        name = environment.removeprefix(_PIXI)
        path = (project or Path.cwd()) / ".pixi" / "envs" / name / "bin" / "python"
        remedy = f"run `pixi run --environment {name} project`"
    if not path.is_file():
        raise UserError(f"engine.stages.{stage}.environment: there is no interpreter {path}: {remedy}")
    return str(path)

"""`curate image`: the platform's container images, built from a checkout and pushed to a registry."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from curate_cli.command import OK, Json, told
from curate_cli.images import Environment, Images, build_command, call, checkout, revision, working_engine
from curate_cli.printing import print_document
from gpu_kernels.errors import UserError

image = typer.Typer(no_args_is_help=True, help="Build the platform's container images, and push them.")

_Environments = Annotated[
    list[Environment] | None,
    typer.Option("--environment", help="Also the image of workers with this environment; may be repeated."),
]
_Only = Annotated[
    Literal["control", "worker"] | None, typer.Option(help="This one alone. Default: both, and the environments'.")
]
_Registry = Annotated[
    str, typer.Option(help="Registry and folder before the images' names, such as registry.example.org/video.")
]
_Tag = Annotated[str | None, typer.Option(help="Default: the version of this package.")]
_Engine = Annotated[
    Literal["docker", "podman", "buildah"] | None, typer.Option(help="Default: the first of these that works here.")
]


def build(
    environment: _Environments = None,
    only: _Only = None,
    registry: _Registry = "",
    tag: _Tag = None,
    torch: Annotated[
        str, typer.Option(help="What the workers' torch is built for: cpu, or a CUDA such as cu130.")
    ] = "cpu",
    build_arg: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An ARG of docker/Dockerfile; may be repeated.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION", help="One more option of the engine's `build`, such as --no-cache; repeatable."),
    ] = None,
    engine: _Engine = None,
    source: Annotated[Path, typer.Option(help="The checkout to build from.")] = Path(),
    as_json: Json = False,
) -> int:
    """Build the images `control` and `worker`, and print their names as the chart's values."""
    images, folder = _images(registry, tag, environment, only), checkout(source)
    arguments = {"VERSION": images.tag, "REVISION": revision(folder), "TORCH_BACKEND": torch}
    for each in build_arg or ():
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise UserError(f"--build-arg {each}: write NAME=VALUE")
        arguments[name] = value
    chosen = working_engine(engine)
    for target, name in images.names.items():
        call(build_command(chosen, target, name, arguments, option or ()), folder)
    return _told(images, as_json)


def push(
    registry: Annotated[str, typer.Option(help="As they were built with.")],
    environment: _Environments = None,
    only: _Only = None,
    tag: _Tag = None,
    engine: _Engine = None,
    as_json: Json = False,
) -> int:
    """Push the images that `curate image build` made with the same options, and print the chart's values."""
    images, chosen = _images(registry, tag, environment, only), working_engine(engine)
    for name in images.names.values():
        call([chosen, "push", name], Path())
    return _told(images, as_json)


def _images(registry: str, tag: str | None, environments: list[Environment] | None, only: str | None) -> Images:
    named = {"tag": tag} if tag else {}
    return Images(registry=registry, environments=tuple(environments or ()), only=only, **named)


def _told(images: Images, as_json: bool) -> int:
    """The names, as values of the chart."""
    if as_json:
        print_document({"images": images.names})
        return OK
    print("images:")
    if images.registry:
        print(f"  registry: {images.registry.rstrip('/')}")
    for target in images.names:
        value = f'{{ repository: curate-graph-{target}, tag: "{images.tag}" }}'
        print(
            f"  {target}: {value}" if target in ("control", "worker") else f"  # or, with more in it, worker: {value}"
        )
    return OK


for command in (build, push):
    image.command()(told(command))

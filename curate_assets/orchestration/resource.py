"""The `curation` resource: the root and the whole configuration, as the launchpad and the command line give it."""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from curate_assets.graph.platform import PlatformConfig
from curate_assets.settings.presets import ShardSettings
from curate_assets.settings.resolve import CurationConfig
from curate_resources.storage.root import Storage, root_uri
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.backends import KEY as BACKEND
from gpu_kernels.backends import Backends, backends_of
from gpu_kernels.strict import descriptions


@dataclass(frozen=True)
class Curation:
    """What assets need to know of their surroundings.

    What is wrong with any of it shows in the step, which fails. A run that failed sooner would be repeated.

    Attributes:
        given_root: the root of this run; None: that of `CURATE_ROOT`.
        given: settings of this run.
    """

    given_root: str | None
    given: Mapping[str, Any]
    force: bool = False
    failed_only: bool = False

    @cached_property
    def storage(self) -> Storage:
        """The root."""
        return Storage(root_uri(self.given_root))

    @cached_property
    def settings(self) -> ShardSettings:
        """All settings."""
        return ShardSettings.read(self.storage, self.given)

    @property
    def config(self) -> PlatformConfig:
        """The settings of what concerns all shards."""
        return self.settings.whole

    @property
    def tables(self) -> Tables:
        """The tables under the root."""
        return Tables(self.storage)


def config_schema(model: type[BaseModel]) -> dict[str, dg.Field]:
    """Dagster's description of a pydantic model: same keys, types, choices and docs; pydantic then checks the values.

    Nothing is required and no default is filled in, so that what is not said can still come from `curate.yaml`.
    """
    return {name: _field(model, name, field) for name, field in model.model_fields.items()}


def _field(model: type[BaseModel], name: str, field: FieldInfo) -> dg.Field:
    kind = field.annotation
    if (backends := backends_of(field)) is not None:
        return dg.Field(
            _of_backends(backends, name), is_required=False, description=(backends.base.__doc__ or "").strip()
        )
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return dg.Field(dg.Shape(config_schema(kind)), is_required=False, description=(kind.__doc__ or "").strip())
    default = "" if field.is_required() else f" Default: {field.get_default(call_default_factory=True)!r}."
    description = f"{descriptions(model).get(name, '')}{default}".strip()
    return dg.Field(_type(kind, f"{model.__name__}_{name}"), is_required=False, description=description)


def _of_backends(backends: Backends[Any], name: str) -> dg.Shape:
    """The keys of all backends; pydantic then says which of them the chosen one does not have."""
    fields: dict[str, dg.Field] = {}
    for kind in backends.kinds.values():
        fields = {**config_schema(kind), **fields}
    choices = dg.Enum(f"{backends.base.__name__}_{BACKEND}", [dg.EnumValue(choice) for choice in backends.kinds])
    fields[BACKEND] = dg.Field(choices, is_required=False, description=f"Which of them; {name} has settings for each.")
    return dg.Shape(fields)


def _type(kind: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return dg.Noneable(_type(inner, name))
    if origin is dict:
        return dg.Map(*(_type(argument, name) for argument in arguments))
    if origin is list:
        return dg.Array(_type(arguments[0], name))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return dg.Shape(config_schema(kind))
    if origin is Literal:
        return dg.Enum(name, [dg.EnumValue(choice) for choice in arguments])
    return {str: dg.String, int: dg.Int, float: dg.Float, bool: dg.Bool}[kind]


@dg.resource(
    config_schema={
        "root": dg.Field(dg.String, is_required=False, description="Root URI; else CURATE_ROOT, else ./curate-data."),
        "force": dg.Field(dg.Bool, is_required=False, description="Compute every row, whatever its fingerprint says."),
        "failed_only": dg.Field(dg.Bool, is_required=False, description="Compute only what failed or is missing."),
        **config_schema(CurationConfig),
    },
    description="Where everything lives, and every setting. Unset keys come from <root>/curate.yaml, else defaults.",
)
def curation(context: dg.InitResourceContext) -> Curation:
    """The resource, from run config."""
    given = dict(context.resource_config)
    root = given.pop("root", None)
    force, failed_only = bool(given.pop("force", False)), bool(given.pop("failed_only", False))
    return Curation(root, given, force, failed_only)

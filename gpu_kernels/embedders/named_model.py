"""Embedders whose model a setting names."""

from abc import ABC

from pydantic import Field, model_validator

from gpu_kernels.embedders.types import ClipEmbeddingsConfig
from gpu_kernels.models.resolve import check_hub_pin, pinned_model
from gpu_kernels.models.section import Wanted


class NamedModelConfig(ClipEmbeddingsConfig, ABC):
    """A model from a folder or a hub."""

    model: str = Field(min_length=1)
    """A folder in the transformers format (config, preprocessor, safetensors), a hub id `owner/name`, or the name of a
    model that `curate models list` shows."""
    revision: str | None = None
    """Commit (40 hexadecimal digits) of a hub id, needed with one. With a folder it is optional and pins the folder's
    content: the 16 digits that loading would report."""

    @model_validator(mode="after")
    def _pinned(self) -> "NamedModelConfig":
        check_hub_pin(self.model, self.revision)
        return self

    def identity(self) -> tuple[str, str]:
        return pinned_model(self.model, self.revision)

    def models(self) -> tuple[Wanted, ...]:
        return (Wanted(self.model, self.revision),)

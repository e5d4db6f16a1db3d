"""By which model speech is written down, and how."""

import importlib.util
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from gpu_kernels.errors import NotThere
from gpu_kernels.models.files import CTRANSLATE2
from gpu_kernels.models.registry import (
    SILERO_VAD,
    WHISPER_TINY_EN,
    Model,
    packaged_files,
    packaged_revision,
    registered,
)
from gpu_kernels.models.resolve import check_hub_pin, model_folder, pinned_model
from gpu_kernels.models.section import ModelSection, Wanted
from gpu_kernels.scores.measurement import NO_MODEL, CostlyMeasurementConfig


class SpeechConfig(CostlyMeasurementConfig, ModelSection):
    """By which Whisper model speech is written down."""

    # The models are part of a row's identity by what pins them.
    without_effect: ClassVar[frozenset[str]] = frozenset({"enabled", "when", "model", "revision"})

    model: str = Field(default=WHISPER_TINY_EN.name, min_length=1)
    """A Whisper model in CTranslate2's format: a folder, a hub id `owner/name` such as `Systran/faster-whisper-small`,
    or a name that `curate models list` shows. The default comes with the extra `speech` and knows English only."""
    revision: str | None = None
    """Commit (40 hexadecimal digits) of a hub id, needed with one; with a folder the 16 digits of its content,
    optional."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}$")
    """What is spoken, such as `en`; `null`: the model says, for up to 28 seconds at a time. A model that knows one
    language always writes that one."""
    beam_size: int = Field(default=5, ge=1, le=20)
    """How many candidates are followed. 1 takes a fifth less, and a few more words are wrong."""
    compute_type: Literal["int8", "int8_float32", "float32"] = "int8"
    """Of the model's arithmetic on the CPU. `float32` takes a third longer, and is hardly better."""
    voice_detector: Literal["silero", "none"] = "silero"
    """What says where somebody speaks: Silero VAD. Elsewhere nothing is written down. With `none`, Whisper hears all of
    the sound, and makes up words where there are none."""

    @model_validator(mode="after")
    def _pinned(self) -> "SpeechConfig":
        check_hub_pin(self.model, self.revision)
        if self.model == WHISPER_TINY_EN.name and self.language not in (None, "en"):
            raise ValueError(f"language {self.language}: {self.model} knows English only, name another `model`")
        return self

    def models(self) -> tuple[Wanted, ...]:
        voices = (Wanted(SILERO_VAD.name),) if self.voice_detector == "silero" else ()
        return (Wanted(self.model, self.revision), *voices) if self.enabled else ()

    def identity(self) -> tuple[str, str]:
        """(name, revision) of the model, and of the voice detector.

        Raises:
            NotThere: a package is not installed, with the remedy; or there is no such model.
            UserError: it is not pinned.
        """
        if not self.enabled:
            return NO_MODEL
        if importlib.util.find_spec("faster_whisper") is None:
            raise NotThere("speech is written down by faster-whisper: pip install 'curate-graph[speech]'")
        shipped = self._shipped()
        found = [
            (shipped.name, packaged_revision(shipped))
            if shipped is not None
            else pinned_model(self.model, self.revision)
        ]
        if self.voice_detector == "silero":
            found.append((SILERO_VAD.name, packaged_revision(SILERO_VAD)))
        names, revisions = zip(*found, strict=True)
        return "+".join(names), "+".join(revisions)

    def folder(self) -> Path:
        """Where the model is on this machine.

        Raises:
            NotThere: it is not there, or is none that CTranslate2 reads.
        """
        shipped = self._shipped()
        folder = packaged_files(shipped)[0].parent if shipped is not None else model_folder(self.model, self.revision)
        for needed in (CTRANSLATE2, "tokenizer.json"):
            if not (folder / needed).is_file():
                raise NotThere(
                    f"speech.model {self.model!r} has no {needed}, so it is no Whisper model in CTranslate2's format; "
                    "`ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json` makes one"
                )
        return folder

    def _shipped(self) -> Model | None:
        known = registered().get(self.model)
        return known if known is not None and known.source == "package" else None

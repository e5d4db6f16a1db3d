"""The models of this machine, in one folder: each whole and checked, or not there at all.

`<folder>/<owner>--<name>/<revision>/` has the files, and `<revision>.json` beside it says which they are; it is written
last. A copy of the folder is a store, too.
"""

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gpu_kernels.errors import NotThere, OperatingError, UserError
from gpu_kernels.models.files import check_files, digest_of
from gpu_kernels.models.registry import Model

VARIABLE = "CURATE_MODELS"


def place_of(name: str, revision: str) -> str:
    """Where a model's files are in a store; its manifest is beside them, with `.json` at the end."""
    return f"{name.replace('/', '--')}/{revision}"


@dataclass(frozen=True)
class ModelStore:
    """A folder with models."""

    root: Path

    @classmethod
    def here(cls) -> "ModelStore":
        """This machine's: the folder that `CURATE_MODELS` names, else `~/.cache/curate/models`."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(Path(os.environ.get(VARIABLE) or cache / "curate" / "models"))

    def models(self) -> Iterator[Model]:
        """All models that are there."""
        for manifest in sorted(self.root.glob("*/*.json")):
            yield _read(manifest)

    def find(self, name: str, revision: str | None = None) -> Model | None:
        """A model, if it is there; without a revision, the only one of its name.

        Raises:
            UserError: without a revision, when there are several.
        """
        if revision is not None:
            manifest = self.root / f"{place_of(name, revision)}.json"
            return _read(manifest) if manifest.is_file() else None
        found = [model for model in self.models() if model.name == name]
        if len(found) > 1:
            raise UserError(f"there are {len(found)} revisions of {name} here: {', '.join(m.revision for m in found)}")
        return found[0] if found else None

    def folder(self, name: str, revision: str) -> Path:
        """Where a model's files are.

        Raises:
            NotThere: it is not on this machine, or files of it are missing or have another size.
        """
        model, folder = self.find(name, revision), self.root / place_of(name, revision)
        if model is None:
            raise NotThere(
                f"model {name} at {revision} is not on this machine (in {self.root}): `curate models download {name}`, "
                "or allow runs to fetch models by the setting `models.fetch: true`"
            )
        for file in model.files:
            path = folder / file.path
            if not path.is_file() or path.stat().st_size != file.bytes:
                raise NotThere(f"model {name} is damaged: {path} is not as it was fetched: {_again(name)}")
        return folder

    def wrong(self, model: Model) -> list[str]:
        """What is wrong with the files of a model, by their content."""
        folder, found = self.root / place_of(model.name, model.revision), []
        for file in model.files:
            path = folder / file.path
            if not path.is_file():
                found.append(f"{file.path} is missing")
            elif digest_of(path) != file.sha256:
                found.append(f"{file.path} has another SHA-256 than when it was fetched")
        return found

    @contextmanager
    def adding(self) -> Generator[Path, None, None]:
        """A folder to put the files of a model into, which `add` takes; what is left there is removed."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".fetching-", dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, model: Model, folder: Path) -> Model:
        """Take the files of a model from a folder, once they are what they should be.

        Raises:
            UserError: a file is a pickle, or its safetensors cannot be read.
            OperatingError: a file has another content than `model` says.
        """
        check_files(model.name, folder, [file.path for file in model.files])
        for file in model.files:
            if (found := digest_of(folder / file.path)) != file.sha256:
                raise OperatingError(
                    f"{file.path} of model {model.name} came with SHA-256 {found}, not {file.sha256}: it is damaged, "
                    "or was changed at its source; nothing was kept"
                )
        target = self.root / place_of(model.name, model.revision)
        manifest = target.with_name(f"{target.name}.json")
        target.parent.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        folder.chmod(0o755)
        folder.rename(target)
        written = manifest.with_name(f".{manifest.name}")
        written.write_text(model.model_dump_json(indent=1))
        written.replace(manifest)
        return model


def _read(manifest: Path) -> Model:
    try:
        return Model.model_validate_json(manifest.read_bytes())
    except ValidationError as error:
        raise UserError(f"{manifest} describes no model: {error.errors()[0]['msg']}; remove it") from error


def _again(name: str) -> str:
    return f"fetch it again by `curate models download {name} --again`"

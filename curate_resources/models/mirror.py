"""Models in a folder or a bucket: a mirror, laid out as every machine's store is, or the plain files of one model."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from curate_resources.storage.root import Storage
from gpu_kernels.errors import NotThere, OperatingError, UserError
from gpu_kernels.models.files import check_files, chosen_files, content_revision, is_weights
from gpu_kernels.models.registry import Model, ModelFile
from gpu_kernels.models.store import ModelStore, place_of

_CHUNK = 32 * 2**20


class Mirror:
    """Models under a URI, for machines that reach no hub.

    Args:
        uri: of a folder, or a bucket and a prefix.
    """

    def __init__(self, uri: str) -> None:
        self._storage = Storage(uri)

    def models(self) -> Iterator[Model]:
        """All models that are there."""
        for folder in self._storage.folders(""):
            for file in self._storage.files(folder):
                if file.endswith(".json"):
                    yield self._read(f"{folder}/{file}")

    def find(self, name: str, revision: str | None) -> Model | None:
        """A model, if it is there; without a revision, the only one of its name.

        Raises:
            UserError: without a revision, when there are several.
        """
        if revision is not None:
            manifest = f"{place_of(name, revision)}.json"
            return self._read(manifest) if self._storage.exists(manifest) else None
        folder = place_of(name, "").rstrip("/")
        found = [self._read(f"{folder}/{file}") for file in self._storage.files(folder) if file.endswith(".json")]
        if len(found) > 1:
            revisions = ", ".join(model.revision for model in found)
            raise UserError(f"{self._storage.root} has {len(found)} revisions of {name}: give one of {revisions}")
        return found[0] if found else None

    def fetch(self, model: Model, store: ModelStore) -> Model:
        """Copy a model of the mirror into a store.

        Raises:
            UserError, OperatingError: a file is missing, is of a kind that is not read, or is not what it should be.
        """
        with store.adding() as folder:
            for file in model.files:
                path = f"{place_of(model.name, model.revision)}/{file.path}"
                found = self._copied(path, folder / Path(file.path).name)
                if found.sha256 != file.sha256:
                    raise OperatingError(
                        f"{self._storage.uri(path)} has SHA-256 {found.sha256}, not {file.sha256}: it is damaged or "
                        "was changed; upload the model again"
                    )
            return store.add(model, folder)

    def take(self, name: str, revision: str | None, store: ModelStore) -> Model:
        """Copy the plain files of one model, which lie directly under the URI, into a store.

        Raises:
            NotThere: there is no such model.
            UserError: its weights are pickles, or it is not what `revision` pins.
        """
        listed = self._storage.files("")
        if not listed:
            raise NotThere(f"{self._storage.root} has neither model {name} nor the files of one")
        with store.adding() as folder:
            files = [self._copied(each, folder / each) for each in chosen_files(name, listed)]
            found = content_revision({file.path: file.sha256 for file in files})
            if revision is not None and revision != found:
                raise UserError(f"revision {revision} of {name} was asked for, but {self._storage.root} holds {found}")
            weights = sum(file.bytes for file in files if is_weights(file.path))
            model = Model(
                name=name,
                revision=found,
                source="folder",
                files=tuple(files),
                memory_gib=round(weights / 2**30, 2),
            )
            return store.add(model, folder)

    def upload(self, model: Model, folder: Path) -> bool:
        """Copy a model there, its manifest last; whether it was not there already.

        Raises:
            UserError: a file is of a kind that is not read.
        """
        place = place_of(model.name, model.revision)
        if self.find(model.name, model.revision) == model:
            return False
        check_files(model.name, folder, [file.path for file in model.files])
        for file in model.files:
            with (folder / file.path).open("rb") as source, self._storage.writer(f"{place}/{file.path}") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
        self._storage.write(f"{place}.json", model.model_dump_json(indent=1).encode())
        return True

    def _copied(self, path: str, target: Path) -> ModelFile:
        size, digest = self._storage.size(path), hashlib.sha256()
        if size is None:
            raise NotThere(f"{self._storage.uri(path)} is not there: upload the model again")
        with target.open("wb") as file:
            for offset in range(0, size, _CHUNK):
                chunk = self._storage.read(path, offset, min(_CHUNK, size - offset))
                digest.update(chunk)
                file.write(chunk)
        return ModelFile(path=target.name, bytes=size, sha256=digest.hexdigest())

    def _read(self, path: str) -> Model:
        try:
            return Model.model_validate_json(self._storage.read(path))
        except ValidationError as error:
            raise UserError(f"{self._storage.uri(path)} describes no model: {error.errors()[0]['msg']}") from error

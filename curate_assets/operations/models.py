"""What people ask of models: which there are, and fetching, checking and copying them."""

from dataclasses import dataclass
from typing import Any

from curate_assets.graph.platform import PlatformConfig
from curate_assets.settings.presets import ShardSettings
from curate_assets.settings.resolve import presets, resolve_config
from curate_resources.models.fetching import fetched
from curate_resources.models.mirror import Mirror
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.presets import PRESETS, CaptionPreset
from gpu_kernels.embedders.published import PUBLISHED, PublishedEmbedder
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.models.registry import Model, changed_in_package, packaged_files, registered
from gpu_kernels.models.resolve import kept_in_a_store, pinned_model
from gpu_kernels.models.section import ModelSection
from gpu_kernels.models.store import ModelStore, place_of


@dataclass(frozen=True)
class KnownModel:
    """A model that somebody knows of.

    Attributes:
        state: where it is: `here`, `package`, `mirror`, `folder`, or `missing`; or it is a `preset` of captions, or a
            `published` embedder.
        revision: empty of these two, whose commit whoever uses them has to give.
        used_by: the sections of the configuration that name it.
        model: what is known of it; None of a hub id that was never fetched, and of a folder.
        preset: the settings that it has for captions.
        embedder: what is known of a published one.
    """

    name: str
    revision: str
    state: str
    used_by: tuple[str, ...]
    model: Model | None
    preset: CaptionPreset | None = None
    embedder: PublishedEmbedder | None = None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        about = self.model.model_dump(mode="json") if self.model is not None else {}
        if self.preset is not None:
            about["preset"] = self.preset.model_dump(mode="json") | {"memory_gib": self.preset.memory_gib}
        if self.embedder is not None:
            about["embedder"] = self.embedder.model_dump(mode="json")
        return {**about, "name": self.name, "revision": self.revision, "state": self.state, "used_by": self.used_by}


def known_models(storage: Storage) -> list[KnownModel]:
    """All models that are registered, named by the configuration, on this machine, or on the mirror; then the presets
    for captions, and the published embedders."""
    configs = _configs(storage)
    mirror, store = configs[0].models.mirror, ModelStore.here()
    found: dict[tuple[str, str], tuple[str, Model | None]] = {}
    for model in registered().values():
        found[model.name, model.revision] = (
            _state_of_package(model) if model.source == "package" else "missing",
            model,
        )
    for model in Mirror(mirror).models() if mirror is not None else ():
        found[model.name, model.revision] = "mirror", model
    for model in store.models():
        found[model.name, model.revision] = "here", model
    users: dict[tuple[str, str], dict[str, None]] = {}
    for section, model, revision in _named(configs):
        kept, known = kept_in_a_store(model, revision), registered().get(model)
        if known is not None and known.source == "package":
            key, state = (known.name, known.revision), "package"
        else:
            key, state = (kept, "missing") if kept is not None else (_pinned(model, revision), "folder")
        users.setdefault(key, {})[section] = None
        found.setdefault(key, (state, None))
    known = [KnownModel(*key, state, tuple(users.get(key, ())), model) for key, (state, model) in found.items()]
    known += [KnownModel(each.model, "", "preset", (), None, each) for each in PRESETS.values()]
    return known + [KnownModel(each.model, "", "published", (), None, None, each) for each in PUBLISHED]


def downloaded(
    storage: Storage, name: str | None, revision: str | None, source: str | None, again: bool = False
) -> list[tuple[Model, bool]]:
    """The models of a name, or all that the configuration names, and whether each was fetched now.

    Raises:
        UserError, OperatingError: one cannot be had; the message says why.
    """
    configs, store = _configs(storage), ModelStore.here()
    source = source or configs[0].models.mirror
    named = [key for _, model, pin in _named(configs) if (key := kept_in_a_store(model, pin)) is not None]
    wanted: dict[tuple[str, str | None], None] = dict.fromkeys(named)
    if name is not None:
        pinned = dict.fromkeys(key for key in named if key[0] == name)
        wanted = {(name, revision): None} if revision is not None or not pinned else dict.fromkeys(pinned)
    got: list[tuple[Model, bool]] = []
    for key in wanted:
        there = store.find(*key) if key[1] is not None else None
        got.append((there, False) if there is not None and not again else (fetched(*key, source, store), True))
    return got


def verified(storage: Storage, name: str | None, revision: str | None) -> list[tuple[Model, list[str]]]:
    """Models of this machine, and what is wrong with the files of each, by their content.

    Raises:
        NotThere: there is no model of that name.
    """
    store = ModelStore.here()
    packaged = [model for model in registered().values() if model.source == "package"]
    if name is None:  # what nobody asks for need not be installed
        asked = {each for _, each, _ in _named(_configs(storage))}
        packaged = [model for model in packaged if model.name in asked or _state_of_package(model) == "package"]
    found = [(model, _wrong_in_package(model)) for model in packaged if name in (None, model.name)]
    for model in store.models():
        if name in (None, model.name) and revision in (None, model.revision):
            found.append((model, store.wrong(model)))
    if not found and name is not None:
        raise NotThere(f"model {name} is not on this machine: `curate models download {name}`")
    return found


def uploaded(storage: Storage, name: str, revision: str | None, target: str | None) -> tuple[Model, str, bool]:
    """Copy a model of this machine to a mirror: which, where to, and whether it was not there already.

    Raises:
        NotThere: it is not on this machine.
        UserError: no mirror is named; or it comes in a package.
    """
    target, store = target or resolve_config(storage).models.mirror, ModelStore.here()
    if target is None:
        raise UserError("say where to, by --to or the setting models.mirror")
    model = store.find(name, revision)
    if model is None and (known := registered().get(name)) is not None and known.source == "package":
        raise UserError(f"model {name} comes with a package, which every machine installs: {known.package}")
    if model is None:
        raise NotThere(f"model {name} is not on this machine: `curate models download {name}`")
    folder = store.folder(model.name, model.revision)
    if wrong := store.wrong(model):
        raise UserError(f"{place_of(model.name, model.revision)} is damaged: {'; '.join(wrong)}; download it again")
    return model, target, Mirror(target).upload(model, folder)


def _configs(storage: Storage) -> list[PlatformConfig]:
    settings = ShardSettings.read(storage)
    return [settings.whole, *(settings.preset(name) for name in presets(storage))]


def _named(configs: list[PlatformConfig]) -> list[tuple[str, str, str | None]]:
    """(section, model, revision) of all that configurations name."""
    return [
        (name, each.model, each.revision)
        for config in configs
        for name, section in config
        if isinstance(section, ModelSection)
        for each in section.models()
    ]


def _pinned(model: str, revision: str | None) -> tuple[str, str]:
    try:
        return pinned_model(model, revision)
    except (UserError, OSError):
        return model, revision or "not there"


def _state_of_package(model: Model) -> str:
    try:
        packaged_files(model)
    except NotThere:
        return "missing"
    return "package"


def _wrong_in_package(model: Model) -> list[str]:
    try:
        changed = changed_in_package(model)
    except NotThere as error:
        return [str(error)]
    return [] if not changed else [f"{model.package} ships other weights than the registered ones"]

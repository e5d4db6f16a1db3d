"""Embedders whose weights a hub has: what is known of them without the hub. Their commits are for whoever uses them to
give, as none could be fetched and checked here."""

from pydantic import Field

from gpu_kernels.strict import StrictModel


class PublishedEmbedder(StrictModel):
    """A checkpoint."""

    model: str
    """A hub's `owner/name`."""
    backend: str
    """Of `clip_embeddings`."""
    frames: int | None
    """Of a clip that it takes at once; None: each by itself."""
    side: int
    """Of the squares that it takes, in pixels."""
    dimension: int
    """Numbers of a vector."""
    words: bool = True
    """Whether it has a text side."""
    licence: str = "not checked: see the model's page"
    gate: str | None = None
    """What has to be accepted before the hub gives it, as far as is known."""
    commit_begins: str | None = Field(default=None, pattern=r"^[0-9a-f]{8}$")
    """How the hub's commit begins that NVIDIA Cosmos-Curator pins. A backend needs the whole of it."""


def _page(model: str) -> str:
    return f"https://huggingface.co/{model}"


def _cosmos(side: int, dimension: int, commit_begins: str) -> PublishedEmbedder:
    return PublishedEmbedder(
        model=f"nvidia/Cosmos-Embed1-{side}p",
        backend="cosmos_embed1",
        frames=8,
        side=side,
        dimension=dimension,
        licence="nvidia-open-model-license",
        commit_begins=commit_begins,
    )


def _dinov3(size: str, dimension: int) -> PublishedEmbedder:
    name = f"facebook/dinov3-{size}16-pretrain-lvd1689m"
    return PublishedEmbedder(
        model=name,
        backend="dinov3",
        frames=None,
        side=224,
        dimension=dimension,
        words=False,
        licence="DINOv3 License",
        gate=_page(name),
    )


def _siglip(name: str, side: int, dimension: int) -> PublishedEmbedder:
    return PublishedEmbedder(
        model=f"google/{name}", backend="siglip", frames=None, side=side, dimension=dimension, licence="apache-2.0"
    )


_INTERNVIDEO2 = "OpenGVLab/InternVideo2-Stage2_1B-224p-f4"

PUBLISHED = (
    PublishedEmbedder(
        model="openai/clip-vit-large-patch14",
        backend="clip",
        frames=None,
        side=224,
        dimension=768,
        commit_begins="32bd6428",
    ),
    _siglip("siglip-so400m-patch14-384", 384, 1152),
    _siglip("siglip2-base-patch16-224", 224, 768),
    _siglip("siglip2-so400m-patch14-384", 384, 1152),
    _dinov3("vits", 384),
    _dinov3("vitb", 768),
    _dinov3("vitl", 1024),
    PublishedEmbedder(
        model=_INTERNVIDEO2,
        backend="internvideo2",
        frames=4,
        side=224,
        dimension=512,
        gate=_page(_INTERNVIDEO2),
        commit_begins="4362e1f8",
    ),
    _cosmos(224, 256, "85f56274"),
    _cosmos(336, 768, "5d8309dd"),
    _cosmos(448, 768, "9f4ff4d8"),
)

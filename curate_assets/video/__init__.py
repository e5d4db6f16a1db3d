"""The video graph: its tables, and what stages that are added to it read. Names are loaded when they are used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate_assets.video.assets.captions import CAPTIONS as CAPTIONS
    from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS as CLIP_EMBEDDINGS
    from curate_assets.video.assets.clip_files import CLIP_FILES as CLIP_FILES
    from curate_assets.video.assets.clip_selection import CLIP_SELECTION as CLIP_SELECTION
    from curate_assets.video.assets.clips import CLIP_ID as CLIP_ID
    from curate_assets.video.assets.clips import CLIPS as CLIPS
    from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS as DUPLICATE_GROUPS
    from curate_assets.video.assets.duplicate_pairs import DUPLICATE_PAIRS as DUPLICATE_PAIRS
    from curate_assets.video.assets.motion_signals import MOTION_SIGNALS as MOTION_SIGNALS
    from curate_assets.video.assets.shot_signals import SHOT_SIGNALS as SHOT_SIGNALS
    from curate_assets.video.assets.source_videos import SOURCE_VIDEOS as SOURCE_VIDEOS
    from curate_assets.video.assets.source_videos import VIDEO_ID as VIDEO_ID
    from curate_assets.video.assets.storyboards import STORYBOARDS as STORYBOARDS
    from curate_assets.video.assets.training_dataset import TRAINING_DATASET as TRAINING_DATASET
    from curate_assets.video.graph import VIDEO as VIDEO
    from curate_assets.video.samples import SAMPLED as SAMPLED
    from curate_assets.video.samples import ChangedFile as ChangedFile
    from curate_assets.video.samples import Sample as Sample
    from curate_assets.video.samples import SamplesConfig as SamplesConfig
    from curate_assets.video.samples import content_of as content_of
    from curate_assets.video.samples import samples_of as samples_of
    from curate_assets.video.storyboard_frames import Storyboard as Storyboard
    from curate_assets.video.storyboard_frames import Storyboards as Storyboards
    from gpu_kernels.captioners.types import Caption as Caption
    from gpu_kernels.captioners.types import Captioner as Captioner
    from gpu_kernels.captioners.types import CaptionRequest as CaptionRequest
    from gpu_kernels.captioners.types import CaptionsConfig as CaptionsConfig
    from gpu_kernels.embedders.types import ClipEmbeddingsConfig as ClipEmbeddingsConfig
    from gpu_kernels.embedders.types import Embedder as Embedder
    from gpu_kernels.embedders.types import unit_rows as unit_rows
    from gpu_kernels.media.storyboards import decoded as decoded

_EXPORTED = {
    f"{__name__}.assets.captions": ("CAPTIONS",),
    f"{__name__}.assets.clip_embeddings": ("CLIP_EMBEDDINGS",),
    f"{__name__}.assets.clip_files": ("CLIP_FILES",),
    f"{__name__}.assets.clip_selection": ("CLIP_SELECTION",),
    f"{__name__}.assets.clips": ("CLIPS", "CLIP_ID"),
    f"{__name__}.assets.duplicate_groups": ("DUPLICATE_GROUPS",),
    f"{__name__}.assets.duplicate_pairs": ("DUPLICATE_PAIRS",),
    f"{__name__}.assets.motion_signals": ("MOTION_SIGNALS",),
    f"{__name__}.assets.shot_signals": ("SHOT_SIGNALS",),
    f"{__name__}.assets.source_videos": ("SOURCE_VIDEOS", "VIDEO_ID"),
    f"{__name__}.assets.storyboards": ("STORYBOARDS",),
    f"{__name__}.assets.training_dataset": ("TRAINING_DATASET",),
    f"{__name__}.graph": ("VIDEO",),
    f"{__name__}.samples": ("SAMPLED", "ChangedFile", "Sample", "SamplesConfig", "content_of", "samples_of"),
    f"{__name__}.storyboard_frames": ("Storyboard", "Storyboards"),
    "gpu_kernels.captioners.types": ("Caption", "CaptionRequest", "Captioner", "CaptionsConfig"),
    "gpu_kernels.embedders.types": ("ClipEmbeddingsConfig", "Embedder", "unit_rows"),
    "gpu_kernels.media.storyboards": ("decoded",),
}
_MODULE_OF = {name: module for module, names in _EXPORTED.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(_MODULE_OF)

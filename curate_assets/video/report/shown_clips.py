"""Single clips as the report shows them: a picture, and what is known of it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from curate_assets.video.assets.clip_files import CLIP_FILES
from curate_assets.video.report.funnel import Key
from curate_assets.video.report.library import Library
from curate_assets.video.thumbnails import Place, thumbnails
from gpu_kernels.shots.splitting import SECOND


@dataclass(frozen=True)
class Clip:
    """A clip as it is shown.

    Attributes:
        path: its clip file, below the root; None where it has none.
        uri: its source file.
        start, end: seconds in the source.
        width, height: of the source as displayed, in pixels.
        cropped: width and height of its file, if this has only a part of the picture.
        motion, least_motion: `global_mean` and `per_patch_min_256` of motion_scores; None where not measured.
        luma: mean luminance, 0 to 1; None where not measured.
        caption: of its first window that has one.
        thumbnail: JPEG; None when there is no picture.
    """

    clip_id: str
    uri: str
    path: str | None
    start: float
    end: float
    width: int | None
    height: int | None
    motion: float | None
    least_motion: float | None
    luma: float | None
    caption: str | None
    thumbnail: bytes | None
    cropped: tuple[int, int] | None = None


def shown(
    library: Library, key: Key, pictures: Mapping[Key, bytes], path: str | None = None, caption: str | None = None
) -> Clip:
    """A clip with its picture, if it is among `pictures`."""
    clip, video, scores = library.clips[key], library.video(key), library.scores[key]
    return Clip(
        clip_id=key[1],
        uri=video["uri"],
        path=path,
        start=clip["start_ns"] / SECOND,
        end=clip["end_ns"] / SECOND,
        width=video["width"],
        height=video["height"],
        motion=scores["motion_global_mean"],
        least_motion=scores["motion_per_patch"],
        luma=library.luma.get(key),
        caption=caption,
        thumbnail=pictures.get(key),
    )


def clip_paths(library: Library, clips: Collection[Key]) -> dict[Key, str]:
    """The files of clips that have one, below the root."""
    if not library.written(CLIP_FILES):
        return {}
    rows = library.rows_of(clips, CLIP_FILES, ["shard", "clip_id", "path"])
    return {(row["shard"], row["clip_id"]): row["path"] for row in rows if row["path"]}


def storyboard_pictures(library: Library, clips: Iterable[Key]) -> dict[Key, bytes]:
    """A JPEG of every clip whose video has a storyboard."""
    places = {
        Place(clip["shard"], clip["video_id"], clip["clip_id"], clip["start_frame"], clip["end_frame"])
        for clip in (library.clips[key] for key in clips)
    }
    return {(place.shard, place.clip_id): jpeg for place, jpeg in thumbnails(library.tables, places).items()}

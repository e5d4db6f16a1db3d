"""`clip_files`: a file for every clip that is kept, frame-exact, read back before it counts."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from curate_assets.graph.contact_sheet import contact_sheet, spread
from curate_assets.graph.graph import Asset
from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.duplicate_groups import GROUPED, kept_clips
from curate_assets.video.assets.measurements.borders import BORDERS
from curate_assets.video.assets.measurements.text_overlays import TEXT_OVERLAYS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS, VIDEO_ID, opened
from curate_resources.declarations.stage import ClosedWorker, Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.cutting.cropping import Cropping, Line, common_picture, cropping
from gpu_kernels.cutting.cut import crop_clip, cut_clip, read_back
from gpu_kernels.cutting.encode import ClipFilesConfig, Crop
from gpu_kernels.cutting.spans import Span
from gpu_kernels.media.display import even_size
from gpu_kernels.sandbox import MediaError, Nursery
from gpu_kernels.scores.borders import Box

CLIP_FILES = Table(
    name="clip_files",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("clip_files",),
    version="6",
    media="media/clips",
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("path", pa.string(), "the MP4 file, below the root"),
        Column("bytes", pa.int64(), "its size"),
        Column("sha256", pa.string(), "its checksum"),
        Column("codec", pa.string(), "`h264`; where frames are copied, the source's: `h264`, `hevc` or `vp9`"),
        Column("width", pa.int32(), "width of the file; an odd one of the source has lost its last column"),
        Column("height", pa.int32(), "height of the file; an odd one of the source has lost its last line"),
        Column("frames", pa.int64(), "frames that reading the file back found; as many as the span has"),
        Column(
            "copied_frames",
            pa.int64(),
            "frames that are the source's own, bit by bit; the others are encoded, and 0 is all encoded",
        ),
        Column("duration_ns", pa.int64(), "length of the span"),
        Column("has_audio", pa.bool_(), "whether there is sound in the file, as it was read back"),
        Column("thumbnail", pa.binary(), "JPEG of the middle frame"),
        Column(
            "crop_x",
            pa.int32(),
            "left edge of the part of the source's picture, as displayed, that is in the file; null: it is the whole",
        ),
        Column("crop_y", pa.int32(), "its upper edge"),
        Column("crop_width", pa.int32(), "its width, which is the file's"),
        Column("crop_height", pa.int32(), "its height, which is the file's"),
        Column(
            "crop_undone",
            pa.string(),
            "why a clip is whole that was to be cropped: `too_little_left`, less than `clip_files.crop_least_share`; "
            "`borders_move`, so that nothing is picture throughout; or `size_changes`: its frames have another size "
            "than the video's first ones",
        ),
    ),
    description=(
        "An MP4 file for every clip that is selected and not a duplicate: exactly the frames of its span, sound kept, "
        "index at the front. Whole groups of pictures of H.264, HEVC and VP9 are copied where that is exact, with the "
        "few frames beside them encoded; everything else is encoded as H.264. With `crop` and `drop_bands`, borders "
        "and bands of overlaid text are cropped off. Each file was read back; `thumbnail` is its middle frame."
    ),
)


def open_cutter(config: Any, storage: Storage) -> Worker:
    """A worker that cuts clip files."""
    nursery = Nursery(config.limits)
    settings: ClipFilesConfig = config.clip_files

    def cut(work: Work) -> Mapping[str, list[Row]]:
        parts = _croppings(work, settings)
        sources = {row["video_id"]: row for row in work.inputs[SOURCE_VIDEOS.name].to_pylist() if row["status"] == "ok"}
        rows: list[Row] = []
        for index, clip in enumerate(work.items.to_pylist()):
            source = sources[clip["video_id"]]
            path = f"{CLIP_FILES.media}/{clip['clip_id']}-{work.fingerprints[CLIP_FILES.name][index][:8]}.mp4"
            with opened(source) as local, tempfile.TemporaryDirectory(prefix="curate-") as folder:
                target = Path(folder) / "clip.mp4"
                bounds = (clip[name] for name in ("start_frame", "end_frame", "start_ns", "end_ns"))
                span = Span(*bounds, clock_restarts=source["clock_restarts"], with_sound=source["audio_error"] is None)
                part = parts(clip["clip_id"], (source["width"], source["height"]))
                copied = 0
                if part.box is None:
                    copied = cut_clip(nursery, local, str(target), span, settings)
                else:
                    crop = Crop(part.box, even_size(source["width"], source["height"]))
                    if not crop_clip(nursery, local, str(target), span, settings, crop):
                        part = Cropping(undone="size_changes")
                facts = read_back(nursery, str(target), settings)
                if facts.frames != span.frames:
                    raise MediaError(f"the clip file has {facts.frames} frames, its span has {span.frames}")
                data = target.read_bytes()
            storage.write(path, data)
            rows.append(
                {
                    "video_id": clip["video_id"],
                    "clip_id": clip["clip_id"],
                    "path": path,
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "codec": source["codec"] if copied else "h264",
                    "width": facts.width,
                    "height": facts.height,
                    "frames": facts.frames,
                    "copied_frames": copied,
                    "duration_ns": clip["end_ns"] - clip["start_ns"],
                    "has_audio": facts.has_audio,
                    "thumbnail": facts.thumbnail,
                    **_crop_columns(part),
                }
            )
        return {CLIP_FILES.name: rows}

    return ClosedWorker(cut, nursery.close)


def _croppings(work: Work, settings: ClipFilesConfig) -> Callable[[str, tuple[int, int]], Cropping]:
    """Gives, by clip and the size of its source, which part of the picture its file keeps.

    Raises:
        ValueError: a clip was not measured.
    """
    by_borders, by_text = settings.crop == "borders", settings.drop_bands
    boxes = _measured(work, BORDERS.name) if by_borders else {}
    texts = _measured(work, TEXT_OVERLAYS.name) if by_text else {}

    def part(clip_id: str, size: tuple[int, int]) -> Cropping:
        picture, lines = Box(0, 0, *size), list[Line]()
        if by_borders:
            row = _of_clip(boxes, BORDERS.name, clip_id)
            picture = common_picture(_box(row), [_box(each) for each in row["stretches"]])
        if by_text:
            found = _of_clip(texts, TEXT_OVERLAYS.name, clip_id)["lines"]
            lines = [Line(each["y"], each["height"]) for each in found if each["overlay"] and each["told"]]
        return cropping(size, picture, lines, settings.crop_least_share)

    return part


def _measured(work: Work, table: str) -> dict[str, Row]:
    return {row["clip_id"]: row for row in work.inputs[table].to_pylist() if row["status"] != "failed"}


def _of_clip(rows: Mapping[str, Row], table: str, clip_id: str) -> Row:
    if clip_id not in rows:
        raise ValueError(f"the clip cannot be cropped: its row of {table} is not there, or has an error: make it first")
    return rows[clip_id]


def _box(row: Row) -> Box:
    return Box(row["x"], row["y"], row["width"], row["height"])


def _crop_columns(part: Cropping) -> Row:
    box = part.box
    if box is None:
        return {"crop_undone": part.undone}
    return {"crop_x": box.x, "crop_y": box.y, "crop_width": box.width, "crop_height": box.height}


def _by_borders(config: Any) -> bool:
    return config.clip_files.crop == "borders"


def _by_text(config: Any) -> bool:
    return config.clip_files.drop_bands


def _unread(config: Any) -> frozenset[str]:
    read = {BORDERS.name: _by_borders(config), TEXT_OVERLAYS.name: _by_text(config)}
    return frozenset(name for name, is_read in read.items() if not is_read)


CUT = Stage(
    name="cut",
    item=CLIPS.name,
    reads=(SOURCE_VIDEOS.name, BORDERS.name, TEXT_OVERLAYS.name),
    unread=_unread,
    gates=GROUPED,
    writes=(CLIP_FILES,),
    open=open_cutter,
    heavy=True,
    reads_sources=True,
    eligible=kept_clips,
)


_CUT_AGAIN = "`curate materialize --select clip_files --force` for its shard makes it again"


def _files(shard: Shard) -> Problems:
    found: Problems = []
    clips = {row["clip_id"]: row for row in shard.good(CLIPS)}
    for row in shard.good(CLIP_FILES):
        clip = clips.get(row["clip_id"])
        if clip is None:
            found.append(
                f"{shard.named(CLIP_FILES, row)}: there is no such clip any more: materialize clip_files again"
            )
        elif row["frames"] != clip["end_frame"] - clip["start_frame"]:
            found.append(f"{shard.named(CLIP_FILES, row)}: {row['frames']} frames, its span has another number")
        elif shard.tables.storage.size(row["path"]) != row["bytes"]:
            found.append(f"{shard.named(CLIP_FILES, row)}: {row['path']} is gone or has another size: {_CUT_AGAIN}")
    return found


CHECKS = (
    Check(
        CLIP_FILES,
        "files_match_spans",
        "Files are there, with as many frames as their spans.",
        nothing_wrong(_files),
        "select f.clip_id, f.path, f.bytes, f.frames, c.end_frame - c.start_frame as span from clip_files f "
        "left join clips c using (shard, clip_id) where f.shard = $shard and f.status = 'ok'",
    ),
)


def preview(tables: Tables, shard: str) -> str | None:
    """A contact sheet of the clips' thumbnails."""
    stored = tables.read(CLIP_FILES, shard, ["thumbnail"], "status = 'ok'")["thumbnail"].to_pylist()
    return contact_sheet(f"{CLIP_FILES.name} of {shard}", (lambda jpeg=jpeg: jpeg for jpeg in spread(stored)))


def _crops_by_what_is_measured(config: Any) -> None:
    for is_wanted, setting, section in (
        (_by_borders, "crop: borders", BORDERS.name),
        (_by_text, "drop_bands", TEXT_OVERLAYS.name),
    ):
        if is_wanted(config) and not getattr(config, section).enabled:
            raise ValueError(f"clip_files.{setting} needs {section}, which is off: set {section}.enabled to true")


ASSET = Asset(
    CLIP_FILES,
    CUT,
    "delivery",
    CHECKS,
    preview=preview,
    section=ClipFilesConfig,
    agrees=_crops_by_what_is_measured,
    exported=True,
)

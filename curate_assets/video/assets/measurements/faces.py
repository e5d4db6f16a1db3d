"""`faces`: how many faces each clip shows, how large, and where, from its storyboard's pictures."""

from typing import Any

import pyarrow as pa

from curate_assets.graph.graph import Asset, Record
from curate_assets.graph.score import Score, at_least, at_most
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.clip_pictures import Pictures, over_pictures
from curate_assets.video.measuring import SO_FAR, unless_enabled, unless_rejected
from curate_resources.declarations.stage import Stage, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.scores.faces import Face, FacesConfig, face_detector, seen

_SHARES = [(name, pa.float32()) for name in ("x", "y", "width", "height")]

FACES = Table(
    name="faces",
    grain="clip",
    keys=("video_id", "clip_id"),
    sections=("faces",),
    model=lambda config: config.faces.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("pictures", pa.int32(), "storyboard pictures that were looked at"),
        Column("share", pa.float32(), "share of them with a face"),
        Column("most", pa.int32(), "the greatest number of faces in one picture"),
        Column("mean", pa.float32(), "mean number of faces per picture"),
        Column("largest", pa.float32(), "area of the largest face, as a share of the picture; 0 where there is none"),
        Column(
            "largest_box",
            pa.struct(_SHARES),
            "its left and upper edge, width and height, as shares of the picture's; null where there is none",
        ),
        Column(
            "found",
            pa.list_(pa.struct([("frame", pa.int32()), *_SHARES, ("confidence", pa.float32())])),
            "every face: the frame of the source, its box likewise, and how sure the detector is",
        ),
        Column("model", pa.string(), "the detector"),
        Column("model_revision", pa.string(), "what pins it: see [models](models.md#what-pins-a-model)"),
    ),
    description=(
        "Faces of every clip, found in its storyboard's pictures: how many, in how many pictures, how large, and every "
        "box. Nobody is recognised."
    ),
)


def open_face_counter(config: Any, storage: Storage) -> Worker:
    """A worker that counts faces."""
    settings: FacesConfig = config.faces
    detect, (name, revision) = face_detector(settings.confidence), settings.identity()

    def counted(pictures: Pictures) -> Row:
        found = {frame: detect(picture) for frame, picture in pictures}
        summed = seen(list(found.values()))
        return {
            "pictures": len(found),
            "share": summed.share,
            "most": summed.most,
            "mean": summed.mean,
            "largest": summed.largest,
            "largest_box": _box(summed.largest_face) if summed.largest_face is not None else None,
            "found": [
                {"frame": frame, **_box(face), "confidence": face.confidence}
                for frame, faces in found.items()
                for face in faces
            ],
            "model": name,
            "model_revision": revision,
        }

    return over_pictures(FACES, storage, settings.frames_per_second, counted)


def _box(face: Face) -> Row:
    return {"x": face.x, "y": face.y, "width": face.width, "height": face.height}


FIND_FACES = Stage(
    name="find_faces",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    writes=(FACES,),
    open=open_face_counter,
    heavy=True,
    idle=unless_enabled("faces"),
    gates=(SO_FAR,),
    eligible=unless_rejected("faces"),
)

SCORES = (
    Score(
        "faces_share",
        "Pictures with a face",
        ("share",),
        within=(0, 1),
        thresholds=(
            at_least("Least share of a clip's pictures with a face: 0.5 keeps clips of people.", ge=0, le=1),
            at_most("Greatest share of a clip's pictures with a face: 0 keeps clips in which none was found.", ge=0),
        ),
    ),
    Score(
        "faces_most",
        "Faces in one picture",
        ("most",),
        scale="values",
        thresholds=(
            at_least("Fewest faces in the picture of a clip with most.", whole=True, ge=0),
            at_most("Most faces in one picture of a clip: 1 rejects groups of people.", whole=True, ge=0),
        ),
    ),
    Score(
        "face_largest",
        "Area of the largest face",
        ("largest",),
        within=(0, 1),
        thresholds=(
            at_least("Least area of a clip's largest face, as a share of the picture: 0.02 asks for a portrait.", ge=0),
            at_most("Greatest area of a clip's largest face, as a share of the picture: 0.005 keeps crowds.", ge=0),
        ),
    ),
)

ASSET = Asset(
    FACES,
    FIND_FACES,
    "measurements",
    scores=SCORES,
    recorded=Record("faces", ("share", "most", "largest")),
    section=FacesConfig,
    exported=True,
)

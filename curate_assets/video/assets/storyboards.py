"""`storyboards`: a few frames per second as JPEG, from the scan."""

from itertools import pairwise

import pyarrow as pa

from curate_assets.graph.contact_sheet import SHEET_CELLS, contact_sheet, spread
from curate_assets.graph.shard_checks import Check, Problems, Shard, nothing_wrong
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.storyboard_frames import Storyboard
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from curate_resources.tables.lance_tables import Tables
from gpu_kernels.scan.scan import ScanChunk, Scanned

STORYBOARDS = Table(
    name="storyboards",
    grain="frame",
    keys=("video_id", "frame"),
    version="6",
    sections=("storyboards",),
    media="media/storyboards",
    columns=(
        VIDEO_ID,
        Column("frame", pa.int64(), "index of the frame in the source video"),
        Column("pts_ns", pa.int64(), "its presentation time"),
        Column("width", pa.int32(), "width of the JPEG, in pixels as displayed"),
        Column("height", pa.int32(), "height of the JPEG"),
        Column("path", pa.string(), "the file that holds the JPEGs of the video, below the root"),
        Column("offset", pa.int64(), "where the JPEG begins in that file"),
        Column("bytes", pa.int64(), "length of the JPEG"),
        Column(
            "sharpness",
            pa.float32(),
            "variance of the Laplacian, in squared grey levels; compare frames of one size only",
        ),
    ),
    description=(
        "A few frames per second of every video as JPEG, with their exact presentation times. Pictures lie in files "
        "of some megabytes; a row says where, and how sharp the picture is. Embeddings and captions read these, "
        "never the source."
    ),
)


PACK_FRAMES = 300
"""Source frames whose storyboard pictures lie in one file: a few megabytes, which can be read while the video is still
being scanned. A whole number of scan chunks."""


def storyboard_folder(video_id: str, fingerprint: str) -> str:
    """Where a video's storyboard lies; another way of making it is another folder, so no file is ever overwritten."""
    return f"{STORYBOARDS.media}/{video_id}-{fingerprint[:8]}"


class StoryboardOfVideo:
    """Takes one of the storyboards of a scan.

    Args:
        name: of the table that it makes rows of.
        board: which of the scan's.
    """

    def __init__(self, name: str, board: int, video_id: str, folder: str, storage: Storage) -> None:
        self.name, self._board = name, board
        self._video_id, self._folder, self._storage = video_id, folder, storage
        self._rows: list[Row] = []
        self._pack = 0
        self._pictures = bytearray()

    def add(self, chunk: Scanned) -> None:
        if not isinstance(chunk, ScanChunk):
            return
        for frame in chunk.storyboards[self._board]:
            if frame.frame // PACK_FRAMES != self._pack:
                self._write()
                self._pack = frame.frame // PACK_FRAMES
            self._rows.append(
                {
                    "video_id": self._video_id,
                    "frame": frame.frame,
                    "pts_ns": frame.pts_ns,
                    "width": frame.width,
                    "height": frame.height,
                    "path": self._path,
                    "offset": len(self._pictures),
                    "bytes": frame.jpeg.nbytes,
                    "sharpness": frame.sharpness,
                }
            )
            self._pictures += frame.jpeg

    def rows(self, frames: int | None) -> list[Row]:
        self._write()
        return list(self._rows)

    @property
    def _path(self) -> str:
        return f"{self._folder}/{self._pack:06d}.jpgs"

    def _write(self) -> None:
        if self._pictures:
            self._storage.write(self._path, bytes(self._pictures))
            self._pictures.clear()


def _storyboard_order(shard: Shard) -> Problems:
    rows = shard.good(STORYBOARDS)
    return [
        f"{shard.named(STORYBOARDS, later)}: frame {later['frame']} is not after frame {earlier['frame']}"
        for earlier, later in pairwise(rows)
        if earlier["video_id"] == later["video_id"] and later["pts_ns"] <= earlier["pts_ns"]
    ]


CHECKS = (
    Check(
        STORYBOARDS,
        "times_increase",
        "Presentation times increase within a video.",
        nothing_wrong(_storyboard_order),
        "select video_id, frame, pts_ns from storyboards where shard = $shard and status = 'ok' "
        "qualify pts_ns <= lag(pts_ns) over (partition by video_id order by frame)",
    ),
)


def preview(tables: Tables, shard: str) -> str | None:
    """A contact sheet of frames of all videos."""
    rows = tables.read(STORYBOARDS, shard, where="status = 'ok'")
    videos = sorted(set(rows["video_id"].to_pylist()))
    each = max(1, SHEET_CELLS // max(1, len(videos)))
    boards = (Storyboard(tables.storage, rows, video) for video in videos[:SHEET_CELLS])
    jpegs = (
        lambda board=board, position=position: board.jpegs([position])[0]
        for board in boards
        for position in spread(range(len(board.frames)), each)
    )
    return contact_sheet(f"{STORYBOARDS.name} of {shard}", jpegs)

"""`clip_embeddings`: the mean of the embeddings of a clip's own storyboard frames."""

import numpy as np

from curate_assets.settings.resolve import CurationConfig
from curate_assets.video.assets.clip_embeddings import CLIP_EMBEDDINGS
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboards
from gpu_kernels.media.storyboards import decoded


def test_a_vector_is_the_direction_of_its_frames(finished) -> None:
    embedder = CurationConfig().clip_embeddings.load()
    boards = Storyboards(finished.storage, finished.tables.read(STORYBOARDS))
    vectors = {row["clip_id"]: row for row in finished.tables.read(CLIP_EMBEDDINGS).to_pylist()}
    clips = finished.tables.read(CLIPS, where="status = 'ok'").to_pylist()
    assert vectors.keys() == {clip["clip_id"] for clip in clips}
    for clip in clips[::3]:
        board = boards.of(clip["video_id"])
        shown = board.within(clip["start_frame"], clip["end_frame"])
        frames = np.stack([embedder.embed([decoded(jpeg)])[0] for jpeg in board.jpegs(shown)])
        mean = frames.mean(axis=0)
        row = vectors[clip["clip_id"]]
        assert row["frames"] == len(shown) and row["model"] == embedder.name
        assert np.abs(np.array(row["vector"]) - mean / np.linalg.norm(mean)).max() < 1e-5

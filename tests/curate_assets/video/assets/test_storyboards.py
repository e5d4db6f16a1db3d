"""`storyboards`: each picture is the frame of the source that its row names."""

import av
import cv2
import numpy as np

from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboards
from gpu_kernels.media.storyboards import decoded


def test_pictures_are_the_frames_that_they_say(finished) -> None:
    boards = Storyboards(finished.storage, finished.tables.read(STORYBOARDS))
    for video in finished.tables.read(SOURCE_VIDEOS, where="status = 'ok'").to_pylist():
        board = boards.of(video["video_id"])
        with av.open(video["uri"]) as source:
            frames = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        pictures = board.jpegs(range(len(board.frames)))
        assert len(pictures) >= len(frames) / video["average_rate"]  # one per second at least
        for frame, jpeg in zip(board.frames, pictures, strict=True):
            shown = decoded(jpeg)
            others = (cv2.resize(frames[at], shown.shape[1::-1]) for at in (frame, max(0, frame - 12)))  # square pixels
            apart, apart_from_before = (np.abs(shown.astype(int) - other).mean() for other in others)
            assert apart < 6 and (frame < 12 or apart <= apart_from_before)

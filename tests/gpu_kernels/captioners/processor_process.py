"""Prepares frames as the project does and by the model's own processor: `python processor_process.py MODEL_FOLDER`,
prints what is the same, as JSON. Needs torchvision."""

import io
import json
import sys
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoProcessor

from gpu_kernels.captioners.transformers_vision import TransformersCaptionsConfig
from gpu_kernels.captioners.types import CaptionRequest


def main(folder: str) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    jpegs: list[bytes] = []
    for _ in range(5):  # of a size that is kept: their scaling differs in the last bit
        encoded = io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
        coarse.resize((448, 448), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=95)
        jpegs.append(encoded.getvalue())
    window = CaptionRequest(jpegs, [0.5 * k for k in range(5)])
    config = TransformersCaptionsConfig(model=folder, device="cpu", prompt="What happens?")
    ours = config.load().model_inputs(window)  # pyright: ignore[reportAttributeAccessIssue]

    processor: Any = AutoProcessor.from_pretrained(folder)
    content = [{"type": "video"}, {"type": "text", "text": "What happens?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    frames = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
    metadata = {"fps": 2.0, "duration": 2.5, "total_num_frames": 5, "frames_indices": list(range(5))}
    theirs = processor(
        text=[text],
        videos=[frames],
        video_metadata=[metadata],
        do_sample_frames=False,
        do_resize=False,
        return_tensors="pt",
    )
    seconds = [
        torch.as_tensor(each["second_per_grid_ts"]).item() for each in (ours, theirs) if "second_per_grid_ts" in each
    ]
    return {
        "same_ids": ours["input_ids"].tolist() == theirs["input_ids"].tolist(),
        "same_grid": ours["video_grid_thw"].tolist() == theirs["video_grid_thw"].tolist(),
        "most_apart": (ours["pixel_values_videos"] - theirs["pixel_values_videos"]).abs().max().item(),
        "second_per_grid_ts": seconds or None,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))

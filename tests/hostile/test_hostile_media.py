"""The short form of `make hostile`: some files of every kind. And that its traps would show what they are set for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import av
import pytest
from hostile_media.mutations import KINDS
from hostile_media.references import BINARY, alias, movie_of, playlist
from hostile_media.traps import Traps, shows_canary
from hostile_media.trial import CONFIG, trial

from gpu_kernels.cutting.cut import cut_clip
from gpu_kernels.cutting.encode import ClipFilesConfig
from gpu_kernels.cutting.spans import Span
from gpu_kernels.sandbox import DecodingLimits, MediaError, Nursery

SHARED = Path(__file__).resolve().parents[3] / "shared" / "media"


@pytest.mark.deep
def test_every_hostile_file_ends_within_its_limits_and_opens_nothing(tmp_path: Path) -> None:
    verdict = trial(tmp_path, seed=0, count=4 * len(KINDS), shared=SHARED)
    assert verdict.violations == []
    by_status = [outcome.status for outcome in verdict.outcomes]
    assert min(by_status.count("ok"), by_status.count("failed")) >= len(KINDS)


@pytest.fixture
def traps(tmp_path: Path) -> Iterator[Traps]:
    library = tmp_path / "library"
    library.mkdir()
    traps = Traps.set(tmp_path / "canaries", library)
    yield traps
    traps.close()


def test_cutting_follows_no_reference_either(traps: Traps) -> None:
    """What points elsewhere is refused by the probe; the program that cuts must not depend on that."""
    with Nursery(DecodingLimits(**CONFIG["limits"])) as nursery:
        for index in range(24):
            rng = Random(index)
            source = traps.beside.with_name(f"{index}.mp4")
            source.write_bytes(playlist(rng, traps)[1] if index % 2 else BINARY[index // 2 % len(BINARY)](rng, traps))
            with pytest.raises(MediaError):
                cut_clip(
                    nursery,
                    str(source),
                    f"{source}.cut",
                    Span(0, 5, 0, 10**9),
                    ClipFilesConfig(preset="ultrafast"),
                )
    assert (traps.watch.events(), traps.listener.connections) == ([], 0)


@pytest.mark.parametrize(
    ("content", "opened"),
    [
        (lambda traps: f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:1,\n{traps.url}\n#EXT-X-ENDLIST\n", "connection"),
        (
            lambda traps: f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:1,\n{traps.beside.name}\n#EXT-X-ENDLIST\n",
            "beside",
        ),
        (lambda traps: f"ffconcat version 1.0\nfile {traps.beside.name}\n", "beside"),
        (lambda traps: f"ffconcat version 1.0\nfile {traps.folder}/canary.ts\n", "canary.ts"),
        (lambda traps: movie_of(traps, alias(f"{traps.folder}/canary.mov")), "canary.mov"),
    ],
)
def test_a_library_that_follows_references_is_caught(
    traps: Traps, content: Callable[[Traps], str | bytes], opened: str
) -> None:
    """Without this, a suite that finds nothing would say nothing."""
    source, data = traps.beside.with_name("source.m3u8"), content(traps)  # a name without which HLS is not recognized
    source.write_bytes(data if isinstance(data, bytes) else data.encode())
    careless = {
        "protocol_whitelist": "file,http,tcp,crypto,data",
        "extension_picky": "0",
        "safe": "0",
        "enable_drefs": "1",
        "use_absolute_path": "1",
    }
    with av.open(str(source), container_options=careless) as container:
        frame = next(container.decode(video=0))
    assert shows_canary(frame.to_ndarray(format="rgb24"))
    name = {"beside": traps.beside.name}.get(opened, opened)
    assert traps.listener.connections if opened == "connection" else name in traps.watch.events()
